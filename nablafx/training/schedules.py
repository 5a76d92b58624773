"""How the learning rates change as a run goes on."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from nablafx.errors import UserError
from nablafx.processes import told_by_first


class ScheduleError(UserError, ValueError):
    """A schedule and a run that do not fit each other."""


class Schedule:
    """What becomes of the learning rates of a run.

    Subclasses write `scheduler`, and what it does before each optimizer step or after each validation.
    """

    def scheduler(self, optimizer: Optimizer) -> LRScheduler:
        """Torch's part of it, whose state is in each checkpoint.

        Raises:
            ValueError: the schedule's settings make none.
        """
        raise NotImplementedError

    def check(self, trainer: Trainer) -> None:
        """Raise ScheduleError for a run that the schedule cannot be for."""

    def before_step(self, scheduler: LRScheduler, trainer: Trainer, batch: int) -> None:
        """Set the rates of the optimizer step at hand; batch: the index in its epoch of what the step learns from."""

    def after_validation(self, scheduler: LRScheduler, loss: Tensor) -> None:
        """Set the rates by the validation loss, a scalar tensor."""


class PlateauSchedule(Schedule):
    """After `patience` validations without gain every learning rate is multiplied by `factor`; the published one."""

    def __init__(self, factor: float = 0.5, patience: int = 20) -> None:
        self.factor, self.patience = factor, patience

    def scheduler(self, optimizer: Optimizer) -> LRScheduler:
        return ReduceLROnPlateau(optimizer, factor=self.factor, patience=self.patience)

    def after_validation(self, scheduler: LRScheduler, loss: Tensor) -> None:
        scheduler.step(loss)  # type: ignore[arg-type]  # torch types it for schedulers that count


class WarmupCosine(Schedule):
    """Every learning rate rises to its full value, and falls along half a cosine to the end of the run.

        lr(p) = lr · min(1, p / warm_up) · (floor + (1 - floor) (1 + cos πp) / 2),   p from 0 to 1 as `progress` says

    warm_up: share of the run in which rates rise; 0: they begin at their full value.
    floor: share of the rate that is left at the end.
    Raises ValueError for shares that are none, and where a run has no end.
    Reference: Loshchilov, Hutter, "SGDR", ICLR 2017, arXiv 1608.03983.
    """

    def __init__(self, warm_up: float = 0.02, floor: float = 0.0) -> None:
        for name, share in (("warm_up", warm_up), ("floor", floor)):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"WarmupCosine: {name} is {share}; it needs a share from 0 to 1")
        self.warm_up, self.floor = warm_up, floor

    def factor(self, p: float) -> float:
        """Of the learning rates, where a share p of the run is done."""
        rise = min(1.0, p / self.warm_up) if self.warm_up else 1.0
        return rise * (self.floor + (1.0 - self.floor) * (1.0 + math.cos(math.pi * p)) / 2.0)

    def scheduler(self, optimizer: Optimizer) -> LRScheduler:
        # it keeps the full rates; what it counts itself is not how far the run is
        return LambdaLR(optimizer, lambda _: self.factor(0.0))

    def check(self, trainer: Trainer) -> None:
        if trainer.max_steps < 0 and (trainer.max_epochs or -1) < 0 and not _limits_s(trainer):
            raise ScheduleError(
                "WarmupCosine: this run has no end that the learning rates could fall to (trainer.max_steps and "
                "trainer.max_epochs are -1, and there is no max_time); set one of them, which with none given is "
                "max_epochs 1000, or take another schedule (model: {schedule: PlateauSchedule})"
            )

    def before_step(self, scheduler: LRScheduler, trainer: Trainer, batch: int) -> None:
        factor = self.factor(progress(trainer, batch))
        for group in scheduler.optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]


def progress(trainer: Trainer, batch: int) -> float:
    """How far a run is, from 0 to 1, the same in all processes: by whichever of its limits it will meet first.

        max( steps / max_steps, batches / (max_epochs · batches an epoch), elapsed / max_time )

    trainer: in training; `max_time` is that of each Timer.
    batch: the index in its epoch of the batch at hand; those before it are done.
    """
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        shares.append((trainer.current_epoch + batch / trainer.num_training_batches) / trainer.max_epochs)
    if _limits_s(trainer):
        # each process has a clock of its own
        shares.append(told_by_first(partial(_share_of_time, trainer)))
    return min(max(shares), 1.0)


def _limits_s(trainer: Any) -> list[tuple[Timer, float]]:
    """Those timers that end the run, and after how many seconds."""
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    left = [(timer, timer.time_remaining()) for timer in timers]
    return [(timer, timer.time_elapsed() + rest) for timer, rest in left if rest is not None]


def _share_of_time(trainer: Trainer) -> float:
    return max(timer.time_elapsed() / limit if limit > 0 else 1.0 for timer, limit in _limits_s(trainer))
