"""Checkpoints that survive whatever ends a run: whole, on the disk, often enough, with all that it needs to go on."""

from __future__ import annotations

import io
import signal
import time
from copy import copy
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from nablafx.errors import UserError
from nablafx.processes import highest
from nablafx.training.randomness import random_state, set_random_state
from nablafx.training.runs import CHECKPOINTS
from nablafx.training.sinks import Sink
from nablafx.training.stopping import StoppedError, StopSignals, requeue
from nablafx.writing import replacing

_OURS = "nablafx"
_ATTEMPTS, _ATTEMPTS_S = 3, 600.0  # after so many in a row that fail, over so long, the run ends
_ASK_EVERY = 10  # batches
_DUE = 1  # no signal that stops has this number
# what ModelCheckpoint notes of a checkpoint before it writes it
_BOOKS = ("current_score", "best_k_models", "kth_best_model_path", "kth_value", "best_model_score", "best_model_path")
# what others read of ModelCheckpoint's books
_KINDS: dict[str, type | tuple[type, ...]] = {
    "best_model_path": str,
    "last_model_path": (str, NoneType),
    "best_model_score": (NoneType, float, Tensor),
}


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, syncs it, renames it, and syncs the folder.

    Lightning's own writes into the system's temporary folder and moves the file from there: from another file system
    that is a copy, of which a run that is killed leaves a part, and nothing is synced.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises OSError where it cannot be written; what lay there before lies there still."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()  # torch.save to a file answers a full disk with a RuntimeError
        torch.save(checkpoint, content)
        with replacing(Path(path), durable=True) as temporary:
            temporary.write_bytes(content.getbuffer())


class RunCheckpoint(ModelCheckpoint):
    """ModelCheckpoint, with a `last` that is the newest state: of every validation, every few minutes, and of the end.

    SIGTERM, Ctrl-C and SLURM's SIGUSR1 end the run after the step at hand, or within a validation after its batch, with
    that state saved. The state of all generators, and how far the logs are, are in each checkpoint: a run that goes on
    from one is on a CPU, to the bit, the run that was never stopped, and has its logs.

    What cannot be written, on a full disk say, is told and tried again at the next occasion.
    """

    def __init__(self, save_every_minutes: float = 5.0, **kwargs: Any) -> None:
        """
        Args:
            save_every_minutes: of training, between two states of `last`; 0: at validations only.

        Raises:
            ValueError: `save_last` is "link"; `last` is a state of its own.
        """
        super().__init__(**kwargs)
        if self.save_last == "link":
            raise ValueError("checkpoint.save_last is link, but last is newer than any other checkpoint; give true")
        self.save_every_minutes = save_every_minutes
        self._signals = StopSignals()
        self._random: dict[str, Any] = {}
        self._last_step = -1  # of `last`
        self._last_time = 0.0
        self._validated_step = -1
        self._amid_validation = False
        self._stops = False
        self._stopping = 0
        self._pending = False
        self._max_steps: int | None = None
        self._failed = False
        self._failed_steps: dict[int, float] = {}

    @property
    def state_key(self) -> str:
        # of the parent, for checkpoints of before, and of children
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = DurableCheckpointIO()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._last_time = time.monotonic()
        self._signals.catch(trainer)
        if self._max_steps is not None:
            trainer.fit_loop.epoch_loop.max_steps = self._max_steps
        # what Lightning has made of it is done by now
        progress: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
        progress.ready = progress.started = progress.processed
        if self._random:
            set_random_state(self._random)
            trainer.should_stop = self._stops

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
        # from a state between the last batch and the validation Lightning would leave the validation out
        if loop.batch_progress.is_last_batch or (fetcher and loop._should_check_val_fx(fetcher)):
            return
        wanted = self._wanted(trainer, batch_idx)
        if wanted or _ends(trainer):
            # what this batch logs is written after its end
            self._pending = trainer._logger_connector.should_update_logs
            self._save_last(trainer)
            self._pending = False
        self._stopping = wanted if wanted > _DUE else 0

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self._stopping:
            self._stop(trainer, self._stopping)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any) -> None:
        # processes may have different numbers of batches here, so that they cannot agree
        if self._signals.received and trainer.world_size == 1 and trainer.state.fn == "fit":
            self._amid_validation = True
            self._save_last(trainer)
            self._stop(trainer, self._signals.received)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated_step = trainer.global_step
            if not self._should_save_on_train_epoch_end(trainer):
                self._save_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        wanted = self._wanted(trainer)
        if wanted or _ends(trainer) or self._validated_step == trainer.global_step:
            self._save_last(trainer)
        if wanted > _DUE and not trainer.fit_loop.done:
            self._stop(trainer, wanted)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._save_last(trainer)
        if self._failed:
            raise UserError(f"training came to its end, which could not be saved. {self._how_to_go_on()}")

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "random": random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, kinds in _KINDS.items():
            if not isinstance(state_dict.get(name), kinds):
                raise ValueError(f"its {name} is {state_dict.get(name)!r}")
        super().load_state_dict(state_dict)
        self._random = state_dict.get("random", {})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        pending = trainer.global_step - 1 if self._pending else None
        logs = {type(sink).__name__: sink.position(pending) for sink in trainer.loggers if isinstance(sink, Sink)}
        checkpoint[_OURS] = {"stops": trainer.should_stop, "logs": logs}
        if self._amid_validation:
            # as of a validation whose first batch has begun, so that all of it is run again
            loops = checkpoint["loops"]["fit_loop"]
            progress = loops["epoch_loop.val_loop.batch_progress"]
            total, current = progress["total"], progress["current"]
            if trainer.is_last_batch:  # the next batch is another epoch's
                loops["state_dict"].pop("combined_loader", None)
            before = total["ready"] - current["ready"]
            total.update(ready=before + 1, started=before + 1, processed=before, completed=before)
            current.update(ready=1, started=1, processed=0, completed=0)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        ours = checkpoint.get(_OURS)
        if not ours or trainer.state.fn != "fit":
            return
        self._stops = ours["stops"]
        if Path(trainer.ckpt_path or "").stem == self.CHECKPOINT_NAME_LAST:
            self._last_step = checkpoint["global_step"]
        # as long as Lightning knows of a limit of steps, it takes the end of an epoch for the middle of one
        trainer.fit_loop.epoch_loop.max_steps, self._max_steps = -1, trainer.max_steps
        for sink in trainer.loggers:
            if isinstance(sink, Sink) and ours["logs"].get(type(sink).__name__) is not None:
                sink.rewind(ours["logs"][type(sink).__name__])

    def _wanted(self, trainer: Trainer, batch: int = 0) -> int:
        """A signal to stop, _DUE or 0, alike in all processes; asking them waits for each of them."""
        if trainer.world_size > 1 and batch % _ASK_EVERY:
            return 0
        return highest(self._signals.received or self._is_due(), trainer.strategy.root_device)

    def _is_due(self) -> int:
        waited = time.monotonic() - self._last_time
        return _DUE if 0 < 60 * self.save_every_minutes <= waited else 0

    def _save_last(self, trainer: Any) -> None:
        if self._last_step != trainer.global_step and not trainer.fast_dev_run:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        before = self.last_model_path
        super()._save_last_checkpoint(trainer, monitor_candidates)
        self._last_time = time.monotonic()
        if self._failed:
            self.last_model_path = before
        else:
            self._last_step = trainer.global_step

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        books = {name: copy(getattr(self, name)) for name in _BOOKS}
        self._failed = False
        super()._save_topk_checkpoint(trainer, monitor_candidates)
        if self._failed:
            vars(self).update(books)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        error, step = None, self._last_global_step_saved
        try:
            super()._save_checkpoint(trainer, filepath)
        except OSError as caught:
            error = caught
            trainer.strategy.barrier()  # where the other processes wait
        self._failed = bool(highest(int(error is not None), trainer.strategy.root_device))
        if self._failed:
            self._last_global_step_saved = step
            self._miss(trainer, filepath, error)
        else:
            self._failed_steps.clear()

    def _should_remove_checkpoint(self, trainer: Trainer, previous: str, current: str) -> bool:
        return not self._failed and super()._should_remove_checkpoint(trainer, previous, current)

    def _miss(self, trainer: Trainer, path: str, error: OSError | None) -> None:
        """Tell the first of several failures in a row, and end the run where they do not end."""
        now = time.monotonic()
        if not self._failed_steps:
            rank_zero_warn(
                f"the checkpoint {path} could not be written ({error}). What was there before is kept, and training "
                "goes on and tries again at the next occasion: make room, or mend the folder"
            )
        self._failed_steps.setdefault(trainer.global_step, now)
        if len(self._failed_steps) >= _ATTEMPTS and now - min(self._failed_steps.values()) >= _ATTEMPTS_S:
            raise UserError(
                f"no checkpoint could be written at {len(self._failed_steps)} occasions in a row, the last time {path} "
                f"({error}): make room, or mend the folder. {self._how_to_go_on()}"
            )

    def _stop(self, trainer: Trainer, number: int) -> NoReturn:
        requeue(trainer, number)
        if not trainer.is_global_zero:
            raise SystemExit(128 + number)  # the first process tells
        name = signal.Signals(number).name
        raise StoppedError(number, f"stopped by {name} after step {trainer.global_step}. {self._how_to_go_on()}")

    def _how_to_go_on(self) -> str:
        path = Path(self.last_model_path or self.best_model_path)
        if not path.is_file():
            return "There is no checkpoint to go on from."
        config = path.parent.parent / "config.yaml"
        if path.parent.name == CHECKPOINTS and config.is_file():
            return f"Go on from {path} with: nablafx fit -c {config} --ckpt_path last"
        return f"Go on from {path}"


def _ends(trainer: Trainer) -> bool:
    """Whether this step or epoch is the last one."""
    last_epoch = 0 <= (trainer.max_epochs or 0) - 1 <= trainer.current_epoch and trainer.is_last_batch
    return last_epoch or 0 <= trainer.max_steps <= trainer.global_step
