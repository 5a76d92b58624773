"""How a training is stopped from outside: after a step, with a checkpoint, and a line that says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import FrameType

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from nablafx.errors import UserError


class StoppedError(UserError):
    """A signal stopped the run, whose state is saved; the status is that by which shells tell the signal."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + number


class StopSignals:
    """Notes SIGTERM, Ctrl-C and, in a job of SLURM, SIGUSR1, so that the step at hand ends first.

    A second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        self.received = 0

    def catch(self, trainer: Trainer) -> None:
        """Take the place of the handlers of Lightning, which gives back those of before when it ends."""
        self.received = 0
        if threading.current_thread() is threading.main_thread():
            slurm = _slurm(trainer)
            requeue = [slurm.requeue_signal] if slurm and slurm.requeue_signal else []
            for number in (signal.SIGTERM, signal.SIGINT, *requeue):
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.received:
                raise KeyboardInterrupt
            # not by print: the signal may have come in the middle of one
            os.write(
                sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nStopping after this step; Ctrl-C stops now\n"
            )
        self.received = self.received or number


def requeue(trainer: Trainer, number: int) -> None:
    """Give the job back to SLURM's queue, where SIGUSR1 said that its time is over."""
    environment = _slurm(trainer)
    if environment is None or number != environment.requeue_signal or not trainer.is_global_zero:
        return
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", "") or error
        rank_zero_warn(f"the job {job} could not be put into the queue again ({told}); submit it again")


def _slurm(trainer: Trainer) -> SLURMEnvironment | None:
    """The SLURM job that the trainer runs in, unless its requeueing is switched off."""
    environment = trainer._accelerator_connector.cluster_environment
    return environment if isinstance(environment, SLURMEnvironment) and environment.auto_requeue else None
