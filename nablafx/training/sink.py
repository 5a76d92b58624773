"""What a sink of scalars, audio and figures is, and what one does whose place is full or gone."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
S = TypeVar("S", bound="Sink")


def require(package: str) -> None:
    """Raise ModuleNotFoundError, with the extra that brings it, where a package is not installed."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"Logging to {package} needs a package: pip install 'nablafx[{package}]'")


class Sink(Logger):
    """A Lightning logger that takes audio and figures besides scalars. `save_dir` is the run's folder."""

    def __init__(self, save_dir: str = ".", name: str | None = None) -> None:
        super().__init__()
        self._save_dir = os.fspath(save_dir)
        self._told = False
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
    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        """Keep a matplotlib figure under a tag such as "figures/comparison"."""

    def position(self, pending_step: int | None) -> int | None:
        """How far the log is, for checkpoints; None where it cannot be taken back.

        `pending_step` is the step of one row that is still to come of what the checkpoint holds, if there is one.
        """
        return None

    def rewind(self, position: int) -> None:
        """Forget what was logged after a position: a run goes on from a checkpoint, and logs it again."""

    def failures(self) -> tuple[type[Exception], ...]:
        """The errors that say that something could not be written, on which a training goes on."""
        return (OSError,)

    def miss(self, error: Exception) -> None:
        """Tell, once, that something could not be logged."""
        if not self._told:
            self._told = True
            rank_zero_warn(
                f"{type(self).__name__} could not write into {self.save_dir} ({error}). Training goes on, and what "
                "cannot be written is missing from the logs: make room, or mend the folder"
            )


def first_process(log: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """A method of sinks that the first process runs alone, and whose failure to write is told and ends nothing."""

    @rank_zero_only
    @wraps(log)
    def logged(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            log(self, *args, **kwargs)
        except self.failures() as error:
            self.miss(error)

    return logged
