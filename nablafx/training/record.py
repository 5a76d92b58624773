"""run.json: what a run was, what it heard, and how far it got; what compares runs reads it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from nablafx.data.dataset import HeardFile
from nablafx.foreign import ForeignError, read_json
from nablafx.training.checkpoints import CheckpointError, read_checkpoint
from nablafx.training.locks import writing_in
from nablafx.writing import replacing

FILE = "run.json"


class Heard(TypedDict):
    """Audio that a stage ran on; equal audio has an equal fingerprint."""

    fingerprint: str
    files: list[HeardFile]


class Tested(Heard):
    """What was tested, on which audio."""

    checkpoint: str | None
    step: int | None


class Record(TypedDict, total=False):
    """The content of run.json.

    `split` is of the last fit, `test` of the last test of its weights. `steps` are optimizer steps, `seconds` those of
    all its resumes together, `receptive_field` is in samples, None where it has no end.
    """

    name: str
    seed: int | None
    effect: str
    parameters: int
    trainable: int
    receptive_field: int | None
    controls: list[str]
    sample_rate: int
    nablafx: str
    torch: str
    device: str
    split: Heard
    finished: bool
    steps: int
    epochs: int
    seconds: float
    best_validation_loss: float | None
    best_step: int | None
    test: Tested


def read_record(folder: Path) -> Record:
    """The record of a run's folder; empty where there is none, or none that can be read."""
    try:
        content = read_json(folder / FILE)
    except ForeignError:
        return {}
    return cast(Record, content) if isinstance(content, dict) else {}


def fingerprint(facts: Any) -> str:
    """Equal for equal facts, and for others another one."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


class RunRecord(Callback):
    """Keeps `run.json`, a `Record`, in the run's folder.

    It is written when fit begins, with `finished: false`, when it ends or breaks off, and when a test ends. A fit that
    is resumed keeps its name and seed; what a test said of the earlier weights goes.
    """

    def __init__(self, folder: Path, name: str, seed: int | None, checkpoint: str | None = None) -> None:
        self.folder = folder
        self.facts = Record(name=name, seed=seed)
        self.checkpoint = checkpoint
        self._before = 0.0
        self._started = 0.0

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()
        with self._changed() as record:
            record.pop("test", None)
            self._before = max(self._before, record.get("seconds", 0.0))
            new = Record(split=_split(trainer), finished=False)
            record.update({**self.facts, **record, **_facts(trainer, pl_module), **new})

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # after the end of training, at which the last checkpoint is written
        with self._changed() as record:
            record.update({**self._progress(trainer), "finished": True})

    @rank_zero_only
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # what breaks off before it begins leaves no trace
        if self._started and trainer.state.fn == "fit":
            with self._changed() as record:
                record.update(self._progress(trainer))

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        files = _audio(trainer, "test")
        step = _step_of(self.checkpoint)
        tested = Tested(fingerprint=fingerprint(files), files=files, checkpoint=self.checkpoint, step=step)
        # what was not trained here has no record yet
        with self._changed() as record:
            record.update({**(record or {**self.facts, **_facts(trainer, pl_module)}), "test": tested})

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # of a run that was killed: it could not write them down
        self._before = state_dict["seconds"]

    def _progress(self, trainer: Trainer) -> Record:
        best: Any = trainer.checkpoint_callback
        score = getattr(best, "best_model_score", None)
        return Record(
            steps=trainer.global_step,
            epochs=trainer.current_epoch,
            seconds=self._seconds(),
            best_validation_loss=None if score is None else float(score),
            best_step=_step_of(getattr(best, "best_model_path", None)),
        )

    def _seconds(self) -> float:
        return round(self._before + time.monotonic() - self._started, 3)

    @contextmanager
    def _changed(self) -> Iterator[Record]:
        """The record as it is, written with its changes when the block ends; other commands wait meanwhile."""
        with writing_in(self.folder):
            record = read_record(self.folder)
            yield record
            with replacing(self.folder / FILE, durable=True) as temporary:
                temporary.write_text(json.dumps(record, indent=1) + "\n")


def _facts(trainer: Trainer, system: Any) -> Record:
    effect = system.effect
    parameters = list(effect.parameters())
    return Record(
        effect=type(effect).__name__,
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        receptive_field=effect.receptive_field,
        controls=list(getattr(_data(trainer), "control_names", ())),
        sample_rate=system.sample_rate,
        nablafx=version("nablafx"),
        torch=torch.__version__,
        device=torch.cuda.get_device_name(system.device) if system.device.type == "cuda" else system.device.type,
    )


def _split(trainer: Trainer) -> Heard:
    """The audio of training."""
    files = _audio(trainer, "trainval")
    facts = [files, *(getattr(_data(trainer), name, None) for name in ("segment_length", "data_to_use"))]
    return Heard(fingerprint=fingerprint(facts), files=files)


def _audio(trainer: Trainer, part: Literal["trainval", "test"]) -> list[HeardFile]:
    audio = getattr(_data(trainer), "audio", None)
    # a data module of another kind says nothing of its files
    return audio(part) if callable(audio) else []


def _data(trainer: Trainer) -> Any:
    return getattr(trainer, "datamodule", None)


def _step_of(checkpoint: str | None) -> int | None:
    """The optimizer step at which a checkpoint was written, where it says so."""
    try:
        return read_checkpoint(checkpoint).get("global_step") if checkpoint else None
    except CheckpointError:
        return None
