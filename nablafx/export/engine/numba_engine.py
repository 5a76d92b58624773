"""The engine itself: pieces of a stream through a plan."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nablafx.effects import Effect, GrayBox
from nablafx.export.engine import chain, lstm, stacks  # noqa: F401  rules are known once they are imported
from nablafx.export.engine.lowering import lower_effect, rule_for

# samples that pass all layers together: what flows between them, sixteen channels or one, stays in the cache
_PIECE, _CHAIN_PIECE = 256, 4096


class NumbaEngine:
    """Runs an effect by compiled loops; keeps the protocol of :class:`nablafx.export.streamer.Engine`.

    Its output is that of the effect but for rounding. Everything is compiled, or found compiled, as it is made, and
    `run` makes no arrays but for the output of a block longer than any before.
    """

    def __init__(self, effect: Effect) -> None:
        """
        Raises:
            NoLoweringError: the effect, or a part of it, has no rule.
        """
        self._effect = effect.eval()
        piece = _CHAIN_PIECE if isinstance(effect, GrayBox) else _PIECE
        self._size = effect.frame_size * max(1, piece // effect.frame_size)
        self._plan = rule_for(lower_effect, effect)(effect, self._size)
        self._x = np.zeros((self._size, 1), np.float32)
        self._y = np.zeros(self._size, np.float32)
        self.reset(torch.full((1, effect.num_controls), 0.5) if effect.num_controls else None)
        self.run(np.zeros(self._size, np.float32))

    @torch.inference_mode()
    def reset(self, controls: Tensor | None) -> None:
        self._plan.turn(controls)
        self._plan.load(self._effect.resting(torch.zeros(1, 1, 1), controls))

    @torch.inference_mode()
    def turn(self, controls: Tensor | None) -> None:
        self._plan.turn(controls)

    def run(self, x: np.ndarray) -> np.ndarray:
        length = len(x)
        if length > len(self._y):
            self._y = np.zeros(length, np.float32)
        for start in range(0, length, self._size):
            count = min(self._size, length - start)
            self._x[:count, 0] = x[start : start + count]
            self._y[start : start + count] = self._plan.run(self._x, count)[:count]
        return self._y[:length]
