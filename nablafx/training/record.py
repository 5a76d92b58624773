"""run.json: what a run was, what it heard, and how far it got; what compares runs reads it."""

from __future__ import annotations

import hashlib
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from nablafx.training.files import replacing

FILE = "run.json"


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run's folder; empty where there is none, or none that can be read."""
    try:
        content = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def fingerprint(facts: Any) -> str:
    """Equal for equal facts, and for others another one."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


class RunRecord(Callback):
    """Keeps `run.json` in the run's folder.

    At the start of fit: name, seed, effect and its size, the files of training with the stretches that train and
    validate, and `finished: false`. At its end, or where it breaks off: steps, epochs, seconds (over all its resumes),
    the best validation loss, and whether it finished. At the end of a test: its files.
    """

    def __init__(self, folder: Path, name: str, seed: int | None, checkpoint: str | None = None) -> None:
        self.folder = folder
        self.facts = {"name": name, "seed": seed}
        self.checkpoint = checkpoint
        self._before = 0.0
        self._started = 0.0

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before = float(read_record(self.folder).get("seconds", 0.0))
        self._started = time.monotonic()
        self._write({**self.facts, **_facts(pl_module), **_heard(trainer), "finished": False})

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write({**self._progress(trainer), "finished": True})

    @rank_zero_only
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # what breaks off before it begins leaves no trace
        if self._started and trainer.state.fn == "fit":
            self._write(self._progress(trainer))

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        files = _audio(trainer, "test")
        tested = {"fingerprint": fingerprint(files), "files": files, "checkpoint": self.checkpoint}
        self._write(
            {**self.facts, **_facts(pl_module), "test": tested} if not read_record(self.folder) else {"test": tested}
        )

    def _progress(self, trainer: Trainer) -> dict[str, Any]:
        best = getattr(trainer.checkpoint_callback, "best_model_score", None)
        return {
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "seconds": round(self._before + time.monotonic() - self._started, 1),
            "best_validation_loss": None if best is None else float(best),
        }

    def _write(self, facts: dict[str, Any]) -> None:
        content = {**read_record(self.folder), **facts}
        with replacing(self.folder / FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")


def _facts(system: Any) -> dict[str, Any]:
    effect = system.effect
    parameters = list(effect.parameters())
    return {
        "effect": type(effect).__name__,
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "receptive_field": effect.receptive_field,
        "sample_rate": system.sample_rate,
        "nablafx": version("nablafx"),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if system.device.type == "cuda" else system.device.type,
    }


def _heard(trainer: Trainer) -> dict[str, Any]:
    """The audio of training; data that are not ours say nothing of it."""
    files = _audio(trainer, "trainval")
    data: Any = getattr(trainer, "datamodule", None)
    facts = [files, getattr(data, "segment_length", None), getattr(data, "data_to_use", None)]
    return {"split": {"fingerprint": fingerprint(facts), "files": files}}


def _audio(trainer: Trainer, part: str) -> list[dict[str, Any]]:
    audio = getattr(getattr(trainer, "datamodule", None), "audio", None)
    return audio(part) if callable(audio) else []
