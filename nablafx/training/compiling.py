"""An effect through torch.compile, for the pieces that come again and again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from nablafx.effects import Effect
from nablafx.effects.base import State

BACKEND: str | Callable[..., Any] = "inductor"


class CompiledEffect:
    """Runs an effect compiled, on pieces of one shape in training and of one in validation, and others as they are.

    It holds the effect and is no part of it: checkpoints, rendering and export see nothing of it. A piece that begins
    in silence takes another graph than one that goes on. Where compiling fails it warns once, and the effect runs
    as it is from then on.
    """

    def __init__(self, effect: Effect, waiting: Callable[[str], AbstractContextManager[None]]) -> None:
        """waiting: says what the run waits for, while it does."""
        self._effect, self._waiting = effect, waiting
        self._shapes: dict[tuple[bool, bool], torch.Size] = {}
        self._compiled: Callable[..., tuple[Tensor, State]] | None = None
        self._failed = False

    def __call__(self, x: Tensor, controls: Tensor | None = None, state: State = None) -> tuple[Tensor, State]:
        kind = self._effect.training, state is None
        is_first = kind not in self._shapes
        if self._failed or self._shapes.setdefault(kind, x.shape) != x.shape:
            return self._effect(x, controls, state)
        # torch wraps whatever stops a compiler; what the effect itself raises is raised again below
        try:
            with self._waiting("compiling …") if is_first else nullcontext():
                if self._compiled is None:
                    self._compiled = torch.compile(self._effect.forward, dynamic=False, backend=BACKEND)
                return self._compiled(x, controls, state)
        except RuntimeError as error:
            self._failed = True
            rank_zero_warn(
                f"model.compile: {type(self._effect).__name__} cannot be compiled here, and is trained as it is. "
                f"Leave model.compile out, or mend this: {error}"
            )
        return self._effect(x, controls, state)
