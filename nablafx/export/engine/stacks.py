"""Rules of the stacks of conditioned blocks: TCN, GCN and S4."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from nablafx.effects import GCN, S4, TCN
from nablafx.effects.stack import ConvStack, StackedEffect
from nablafx.export.engine.blocks import GCNPart, Part, lower_block
from nablafx.export.engine.lowering import (
    Dense,
    NoLoweringError,
    Plan,
    lower_activation,
    lower_effect,
    numbers,
    readout_of,
    rule_for,
)
from nablafx.export.engine.modulations import lower_conditioning
from nablafx.kernels.streams.nets import bend, mix


class Late:
    """The delay of what goes past the last block."""

    def __init__(self, samples: int, size: int) -> None:
        self._samples = samples
        self._line = np.zeros(samples + size, np.float32)

    def load(self, state: Any) -> None:
        if self._samples:
            self._line[: self._samples] = numbers(state)[0, 0] if len(state) else 0

    def run(self, values: np.ndarray, length: int) -> None:
        """Delay values (T,) in place."""
        if self._samples:
            self._line[self._samples : self._samples + length] = values[:length]
            values[:length] = self._line[:length]
            self._line[: self._samples] = self._line[length : length + self._samples]


class StackPlan:
    """Blocks one after another, the direct path past them, and the activation of the output."""

    def __init__(
        self, effect: StackedEffect, size: int, readout: nn.Conv1d | None = None, expand: Dense | None = None
    ) -> None:
        """
        Args:
            readout: of what the last block gives; None: of a subclass.
            expand: from the audio to what the first block hears.
        """
        if isinstance(effect, ConvStack) and effect.cold_start:
            raise NoLoweringError(effect, "with cold_start it takes a sequence as a whole")
        self._shared = rule_for(lower_conditioning, effect.conditioning)(effect.conditioning, size)
        self._parts: list[Part] = [rule_for(lower_block, b)(b, self._shared, size) for b in effect.blocks]
        self._direct = None if effect.direct_gain is None else np.float32(effect.direct_gain.item())
        self._late = Late(effect.delay.samples, size)
        self._kind, self._table = rule_for(lower_activation, effect.output_activation)(effect.output_activation, size)
        self._beside = np.zeros(size, np.float32)
        self._y = np.zeros((size, 1), np.float32)
        self._out = self._y.reshape(-1)
        self._expand = expand
        if readout is not None:
            self._weight, self._bias = readout_of(readout)

    def turn(self, controls: Tensor | None) -> None:
        self._shared.turn(controls)
        for part in self._parts:
            part.modulator.turn(self._shared)

    def load(self, state: Any) -> None:
        self._shared.load(state["conditioning"])
        for part, part_state in zip(self._parts, state["blocks"], strict=True):
            part.load(part_state)
        self._late.load(state["late"])

    def run(self, x: np.ndarray, length: int) -> np.ndarray:
        self._shared.hear(x, length)
        if self._direct is not None:
            np.multiply(x[:length, 0], self._direct, out=self._beside[:length])
        h = self._features(x, length)
        self._late.run(self._beside, length)
        mix(h, self._weight, self._bias, self._beside, self._out, length)
        bend(self._y, self._kind, self._table, length)
        return self._out

    def _features(self, x: np.ndarray, length: int) -> np.ndarray:
        """What the output hears of x (T, 1), (T, W); what it hears past the last block is added to `_beside`."""
        h = x if self._expand is None else self._expand.run(x, length)
        for part in self._parts:
            h = part.run(h, length)
        return h


class GatedPlan(StackPlan):
    """The output hears every block of a GCN, the last one as it is and the others as late as the direct path."""

    def __init__(self, effect: GCN, size: int) -> None:
        super().__init__(effect, size)
        self._gated = [part for part in self._parts if isinstance(part, GCNPart)]
        self._weight, self._bias = self._gated[-1].skip, np.float32(effect.bias.item())

    def _features(self, x: np.ndarray, length: int) -> np.ndarray:
        if self._direct is None:
            self._beside[:length] = 0
        h = x
        for part in self._gated[:-1]:
            z = part.run(h, length)
            mix(z, part.skip, np.float32(0), self._beside, self._beside, length)
            h = part.pass_on(length)
        return self._gated[-1].run(h, length)


@lower_effect.register
def _(effect: TCN, size: int) -> Plan:
    return StackPlan(effect, size, effect.mix)


@lower_effect.register
def _(effect: S4, size: int) -> Plan:
    return StackPlan(effect, size, effect.mix, Dense(effect.expand, size))


@lower_effect.register
def _(effect: GCN, size: int) -> Plan:
    return GatedPlan(effect, size)
