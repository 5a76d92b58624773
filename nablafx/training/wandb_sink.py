"""Logs to W&B, online and offline."""

from __future__ import annotations

import json
import os
import secrets
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from nablafx.training.files import as_file, png_bytes, wav_bytes
from nablafx.training.runs import group_of, tags_of
from nablafx.training.sink import Sink, first_process, require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# W&B's own limits are 90 s and none; addresses of repositories may hold a token, and code is the user's
_SETTINGS = {"init_timeout": 30.0, "finish_timeout": 60.0, "disable_git": True, "disable_code": True}


class WandbSink(Sink):
    """A W&B run in `<run>/wandb`, online or offline; needs the extra `nablafx[wandb]`.

    What is not given is read from WANDB_PROJECT (else "nablafx"), WANDB_ENTITY, WANDB_MODE (else online) and
    WANDB_RUN_GROUP (else data/model of the run's name). Tags are the parts of the name, and those of WANDB_TAGS.
    The x-axis is `trainer/global_step`. The run's id is kept in `<run>/wandb/id`, so that testing or resuming
    in the same folder continues the same W&B run. Where W&B does not answer within 30 s (WANDB_INIT_TIMEOUT), or does
    not want the key, the run is an offline one. At its end it waits for uploads for 60 s (WANDB_FINISH_TIMEOUT); what
    has not arrived by then is on the disk. Raises ValueError when online without an API key.
    """

    # Not a child of Lightning's WandbLogger: its log_audio takes other arguments, and it leaves the run open.

    def __init__(
        self,
        save_dir: str = ".",
        name: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        super().__init__(save_dir, name)
        require("wandb")
        chosen = mode or os.environ.get("WANDB_MODE") or "online"
        if chosen not in ("offline", "dryrun", "disabled") and not _has_wandb_key():
            raise ValueError("W&B has no API key: set WANDB_API_KEY, or run offline with WANDB_MODE=offline")
        self._init: dict[str, Any] = {
            "project": project or os.environ.get("WANDB_PROJECT") or "nablafx",
            "entity": entity or os.environ.get("WANDB_ENTITY") or None,
            "mode": chosen,
            "group": group or os.environ.get("WANDB_RUN_GROUP") or group_of(name or ""),
            "tags": tags or [tag[:64] for tag in [*tags_of(name or ""), *_listed("WANDB_TAGS")]],
        }
        self._run: Any = None
        self._is_ours = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, made at the first use; one that is open already (a sweep's, say) is used instead."""
        if self._run is None:
            import wandb

            self._is_ours = wandb.run is None
            self._run = wandb.run or self._start()
            self._run.define_metric("trainer/global_step")
            self._run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return self._run

    def _start(self) -> Any:
        import wandb

        # W&B takes an empty one, as .env may have them, for a value
        for variable in [v for v, value in os.environ.items() if v.startswith("WANDB_") and not value]:
            del os.environ[variable]
        memory = Path(self._save_dir, "wandb", "id")
        memory.parent.mkdir(parents=True, exist_ok=True)  # W&B turns to a temporary folder where its own is missing
        run_id = memory.read_text().strip() if memory.exists() else secrets.token_hex(4)
        memory.write_text(run_id)
        # absolute: its process may have been begun elsewhere
        given = {
            "id": run_id,
            "dir": os.path.abspath(self._save_dir),
            "name": self.run_name,
            "resume": "allow",
            **self._init,
        }
        ours = {key: value for key, value in _SETTINGS.items() if f"WANDB_{key.upper()}" not in os.environ}
        known = {key: value for key, value in ours.items() if key in wandb.Settings.model_fields}
        try:
            return wandb.init(**given, settings=known)
        except self.failures() as error:
            reason = str(error).strip().splitlines()
            rank_zero_warn(
                f"W&B cannot be used ({reason[0] if reason else type(error).__name__}). Its run is logged offline, "
                f"into {self._save_dir}/wandb; send it later, with scripts/wandb_sync.sh or wandb sync"
            )
            wandb.teardown()  # its process holds the run's id
            return wandb.init(**{**given, "mode": "offline"})

    def failures(self) -> tuple[type[Exception], ...]:
        import wandb

        return (OSError, wandb.errors.Error)

    @first_process
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        values = vars(params) if isinstance(params, Namespace) else dict(params)
        self.experiment.config.update(json.loads(json.dumps(values, default=str)), allow_val_change=True)

    @first_process
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log(dict(metrics) if step is None else {**metrics, "trainer/global_step": step})

    @first_process
    def log_audio(self, tag: str, audio: Tensor, sample_rate: int, step: int) -> None:
        import wandb

        # As a file: W&B would clip an array to 16 bits.
        with as_file(wav_bytes(audio, sample_rate), "audio.wav") as path:
            self.log_metrics({tag: wandb.Audio(path, sample_rate=sample_rate)}, step)

    @first_process
    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        import wandb

        with as_file(png_bytes(figure), "figure.png") as path:
            self.log_metrics({tag: wandb.Image(path)}, step)

    @first_process
    def finalize(self, status: str) -> None:
        """Complete the run on disk (a later stage continues it); one begun by somebody else stays open."""
        if self._run is not None and self._is_ours:
            self._run.finish(exit_code=0 if status == "success" else 1)
            self._run = None


def _listed(variable: str) -> list[str]:
    return [part.strip() for part in os.environ.get(variable, "").split(",") if part.strip()]


def _has_wandb_key() -> bool:
    """Whether W&B will find a key without asking for one; the key itself is not kept."""
    from requests.utils import get_netrc_auth  # wandb depends on it

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    return get_netrc_auth(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai") is not None
