"""The rule of the LSTM as an effect."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from nablafx.effects import LSTM
from nablafx.export.engine.lowering import Plan, lower_activation, lower_effect, readout_of, rule_for
from nablafx.export.engine.modulations import lower_conditioning
from nablafx.export.engine.recurrence import RecurrentLayer
from nablafx.kernels.streams.nets import LANES, bend, convolve, mix


class LSTMPlan:
    """The layers of an LSTM; features of its conditioning hold, for ever or a block each."""

    def __init__(self, effect: LSTM, size: int) -> None:
        conditioning, lstm = effect.conditioning, effect.lstm
        self._shared = rule_for(lower_conditioning, conditioning)(conditioning, size)
        later = [RecurrentLayer(lstm, n, size) for n in range(1, lstm.num_layers)]
        self._first = RecurrentLayer(lstm, 0, size, heard=1)
        self._layers = [self._first, *later]
        self._weight, self._bias = readout_of(effect.linear)
        self._kind, self._table = rule_for(lower_activation, effect.output_activation)(effect.output_activation, size)
        self._residual = effect.residual
        self._direct = None if effect.direct_gain is None else np.float32(effect.direct_gain.item())
        self._beside = np.zeros(size, np.float32)
        self._y = np.zeros((size, 1), np.float32)
        self._out = self._y.reshape(-1)
        self._rows: np.ndarray | None = None
        if self._shared.listener:
            self._drive, self._drive_bias = self._first.held_taps()
            self._driven = np.zeros((len(self._shared.listener.rows), self._drive_bias.size), np.float32)
            self._rows = self._driven.reshape(len(self._driven), -1, 4, LANES)

    def turn(self, controls: Tensor | None) -> None:
        self._shared.turn(controls)
        if self._shared.features is not None:
            self._first.hold(self._shared.features)

    def load(self, state: Any) -> None:
        self._shared.load(state["conditioning"])
        h, c = state["lstm"]
        for n, layer in enumerate(self._layers):
            layer.load(h[0, n], c[0, n])

    def run(self, x: np.ndarray, length: int) -> np.ndarray:
        h = self._run_first(x, length)
        for layer in self._layers[1:]:
            h = layer.run(h, length)
        mix(h, self._weight, self._bias, self._past(x, length), self._out, length)
        bend(self._y, self._kind, self._table, length)
        return self._out

    def _run_first(self, x: np.ndarray, length: int) -> np.ndarray:
        listener = self._shared.listener
        if listener is None:
            return self._first.run(x, length)
        self._shared.hear(x, length)
        convolve(listener.rows, 0, 1, 1, self._drive, self._drive_bias, self._driven, listener.count)
        return self._first.run(x, length, self._rows, listener.block, listener.offset)

    def _past(self, x: np.ndarray, length: int) -> np.ndarray:
        """What reaches the output past the layers, (T,)."""
        dry, beside = x[:length, 0], self._beside[:length]
        if self._direct is not None:
            np.tanh(np.multiply(dry, self._direct, out=beside), out=beside)
        else:
            beside[:] = 0
        if self._residual:
            beside += dry
        return self._beside


@lower_effect.register
def _(effect: LSTM, size: int) -> Plan:
    return LSTMPlan(effect, size)
