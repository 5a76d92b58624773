"""Where scalars, audio and figures of a run go: plain files, TensorBoard or W&B.

The rest of the package calls `log_metrics`, `log_audio` and `log_figure` and knows none of the three.
"""

import csv
import json
import os
import secrets
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from nablafx.training.files import as_file, inside, png_bytes, replacing, wav_bytes, write_wav
from nablafx.training.runs import group_of, tags_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"Logging to {package} needs a package: pip install 'nablafx[{package}]'")


class Sink(Logger):
    """A Lightning logger that takes audio and figures besides scalars. `save_dir` is the run's folder."""

    def __init__(self, save_dir: str = ".", name: str | None = None) -> None:
        super().__init__()
        self._save_dir = os.fspath(save_dir)
        self.run_name = name  # only W&B shows it, but whoever makes a sink need not ask which one it is

    # Lightning makes sub-folders of name and version; the run's folder needs none.
    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return self._save_dir

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the resolved config lies beside the history."""

    @abstractmethod
    def log_audio(self, tag: str, audio: Tensor, sample_rate: int, step: int) -> None:
        """Keep audio (C, T) or (T,) under a tag such as "audio/input/riffs"."""

    @abstractmethod
    def log_figure(self, tag: str, figure: "Figure", step: int) -> None:
        """Keep a matplotlib figure under a tag such as "figures/comparison"."""


class FileSink(Sink):
    """Plain files in the run's folder: `history.csv`, `audio/<tag>/step-….wav`, `figures/<tag>/step-….png`.

    `history.csv` has a row per call, `step` first. Rows are appended as they come, also by a resumed run.
    A column that appears late is added at the right, which costs one pass over the file.
    """

    def __init__(self, save_dir: str = ".", name: str | None = None) -> None:
        super().__init__(save_dir, name)
        self.history = Path(save_dir, "history.csv")
        self._columns: list[str] = []

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        row = {"step": step, **{key: float(value) for key, value in metrics.items()}}
        if not self._columns:
            self._columns = self._columns_on_disk()
        late = [key for key in row if key not in self._columns]
        if late:
            self._columns += late
            self._rewrite(len(late))
        with self.history.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow([row.get(key) for key in self._columns])

    def _columns_on_disk(self) -> list[str]:
        if not self.history.exists():
            return []
        with self.history.open("rb+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")  # a run was killed while it wrote a row
        with self.history.open(newline="") as file:
            return next(csv.reader(file), [])

    def _rewrite(self, added: int) -> None:
        """The same rows under the new header, one at a time: a history may be longer than memory is large."""
        with replacing(self.history) as temporary, temporary.open("w", newline="") as target:
            writer = csv.writer(target, lineterminator="\n")
            writer.writerow(self._columns)
            if self.history.exists():
                with self.history.open(newline="") as source:
                    rows = csv.reader(source)
                    next(rows, None)
                    writer.writerows([*row, *[""] * added] for row in rows)

    @rank_zero_only
    def log_audio(self, tag: str, audio: Tensor, sample_rate: int, step: int) -> None:
        write_wav(self._path("audio", tag, step, ".wav"), audio, sample_rate)

    @rank_zero_only
    def log_figure(self, tag: str, figure: "Figure", step: int) -> None:
        with replacing(self._path("figures", tag, step, ".png")) as temporary:
            temporary.write_bytes(png_bytes(figure))

    def _path(self, kind: str, tag: str, step: int, suffix: str) -> Path:
        # Tags carry their kind for the other sinks' sake ("audio/input/…"); here it is the folder, once.
        return inside(Path(self._save_dir, kind), f"{tag.removeprefix(kind + '/')}/step-{step:06d}", suffix)


class TensorBoardSink(Sink):
    """TensorBoard events in `<run>/tensorboard`; needs the extra `nablafx[tensorboard]`."""

    def __init__(self, save_dir: str = ".", name: str | None = None) -> None:
        super().__init__(save_dir, name)
        _require("tensorboard")
        self._writer: Any = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The SummaryWriter, made at the first use."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(os.path.join(self._save_dir, "tensorboard"))
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        for tag, value in metrics.items():
            self.experiment.add_scalar(tag, float(value), step)

    @rank_zero_only
    def log_audio(self, tag: str, audio: Tensor, sample_rate: int, step: int) -> None:
        # Not SummaryWriter.add_audio: it clips to 16 bits and takes one channel only.
        from tensorboard.compat.proto.summary_pb2 import Summary

        content = Summary.Audio(
            sample_rate=sample_rate,
            num_channels=1 if audio.ndim == 1 else audio.shape[0],
            length_frames=audio.shape[-1],
            encoded_audio_string=wav_bytes(audio, sample_rate),
            content_type="audio/wav",
        )
        self._add(Summary(value=[Summary.Value(tag=tag, audio=content)]), step)

    @rank_zero_only
    def log_figure(self, tag: str, figure: "Figure", step: int) -> None:
        # Not SummaryWriter.add_figure: it goes through pyplot and its global state.
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = figure.canvas.get_width_height()
        content = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png_bytes(figure))
        self._add(Summary(value=[Summary.Value(tag=tag, image=content)]), step)

    def _add(self, summary: Any, step: int) -> None:
        self.experiment._get_file_writer().add_summary(summary, step)

    @rank_zero_only
    def save(self) -> None:
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandbSink(Sink):
    """A W&B run in `<run>/wandb`, online or offline; needs the extra `nablafx[wandb]`.

    What is not given is read from WANDB_PROJECT (else "nablafx"), WANDB_ENTITY, WANDB_MODE (else online) and
    WANDB_RUN_GROUP (else data/model of the run's name). Tags are the parts of the name, and those of WANDB_TAGS.
    The x-axis is `trainer/global_step`. The run's id is kept in `<run>/wandb/id`, so that testing or resuming
    in the same folder continues the same W&B run. Raises ValueError when online without an API key.
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
        _require("wandb")
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
        # addresses of repositories may hold a token, and code is the user's
        private = {what: os.environ.get(f"WANDB_{what.upper()}", "true") for what in ("disable_git", "disable_code")}
        settings: Any = wandb.Settings(**private)  # type: ignore[arg-type]
        return wandb.init(
            id=run_id, dir=self._save_dir, name=self.run_name, resume="allow", settings=settings, **self._init
        )

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        values = vars(params) if isinstance(params, Namespace) else dict(params)
        self.experiment.config.update(json.loads(json.dumps(values, default=str)), allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log(dict(metrics) if step is None else {**metrics, "trainer/global_step": step})

    @rank_zero_only
    def log_audio(self, tag: str, audio: Tensor, sample_rate: int, step: int) -> None:
        import wandb

        # As a file: W&B would clip an array to 16 bits.
        with as_file(wav_bytes(audio, sample_rate), "audio.wav") as path:
            self.log_metrics({tag: wandb.Audio(path, sample_rate=sample_rate)}, step)

    @rank_zero_only
    def log_figure(self, tag: str, figure: "Figure", step: int) -> None:
        import wandb

        with as_file(png_bytes(figure), "figure.png") as path:
            self.log_metrics({tag: wandb.Image(path)}, step)

    @rank_zero_only
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
