"""The rules of the LSTMs as effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nablafx.effects import LSTM, EnvelopeLSTM
from nablafx.export.engine.blocks import Convolution, StateSpace
from nablafx.export.engine.filters import Line
from nablafx.export.engine.lowering import (
    Plan,
    by_group,
    in_lanes,
    lower_activation,
    lower_effect,
    numbers,
    padded,
    readout_of,
    rule_for,
)
from nablafx.export.engine.modulations import lower_conditioning
from nablafx.export.engine.recurrence import RecurrentLayer
from nablafx.kernels.streams.nets import LANES, bend, convolve, follow_levels, mix, read_gain
from nablafx.layers.causal_conv import CausalConv1d
from nablafx.layers.recurrent import Recurrent


class Layers:
    """The layers of an LSTM; features of its conditioning hold, for ever or a block each."""

    def __init__(self, conditioning: nn.Module, lstm: Recurrent, size: int, heard: int) -> None:
        """
        Args:
            heard: inputs that pass, the first ones.
        """
        self._shared = rule_for(lower_conditioning, conditioning)(conditioning, size)
        self._first = RecurrentLayer(lstm, 0, size, heard)
        self._later = [RecurrentLayer(lstm, n, size) for n in range(1, lstm.num_layers)]
        self._rows: np.ndarray | None = None
        if self._shared.listener:
            self._drive, self._drive_bias = self._first.held_taps()
            self._driven = np.zeros((len(self._shared.listener.rows), self._drive_bias.size), np.float32)
            self._rows = self._driven.reshape(len(self._driven), -1, 4, LANES)

    def turn(self, controls: Tensor | None) -> None:
        self._shared.turn(controls)
        if self._shared.features is not None:
            self._first.hold(self._shared.features)

    def load(self, conditioning: Any, state: tuple[Tensor, Tensor]) -> None:
        self._shared.load(conditioning)
        h, c = state
        for n, layer in enumerate([self._first, *self._later]):
            layer.load(h[0, n], c[0, n])

    def run(self, x: np.ndarray, features: np.ndarray, length: int) -> np.ndarray:
        """Audio x (T, 1), which the conditioning hears, and features (T, I) -> h (T, units)."""
        h = self._run_first(x, features, length)
        for layer in self._later:
            h = layer.run(h, length)
        return h

    def _run_first(self, x: np.ndarray, features: np.ndarray, length: int) -> np.ndarray:
        listener = self._shared.listener
        if listener is None:
            return self._first.run(features, length)
        self._shared.hear(x, length)
        convolve(listener.rows, 0, 1, 1, self._drive, self._drive_bias, self._driven, listener.count)
        return self._first.run(features, length, self._rows, listener.block, listener.offset)


class LSTMPlan:
    """The layers, a read-out, and what goes past them."""

    def __init__(self, effect: LSTM, size: int) -> None:
        self._layers = Layers(effect.conditioning, effect.lstm, size, heard=1)
        self._weight, self._bias = readout_of(effect.linear)
        self._kind, self._table = rule_for(lower_activation, effect.output_activation)(effect.output_activation, size)
        self._residual = effect.residual
        self._direct = None if effect.direct_gain is None else np.float32(effect.direct_gain.item())
        self._beside = np.zeros(size, np.float32)
        self._y = np.zeros((size, 1), np.float32)
        self._out = self._y.reshape(-1)

    def turn(self, controls: Tensor | None) -> None:
        self._layers.turn(controls)

    def load(self, state: Any) -> None:
        self._layers.load(state["conditioning"], state["lstm"])

    def run(self, x: np.ndarray, length: int) -> np.ndarray:
        h = self._layers.run(x, x, length)
        mix(h, self._weight, self._bias, self._past(x, length), self._out, length)
        bend(self._y, self._kind, self._table, length)
        return self._out

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


class EnvelopePlan:
    """Filters, followers of what some of them give, the layers, a gain that these set, and filters again."""

    def __init__(self, effect: EnvelopeLSTM, size: int) -> None:
        poles, self._resonators = numbers(effect.envelopes.poles()), len(effect.resonators.D)
        self._resonant = StateSpace(effect.resonators, size)
        self._spread = np.zeros((size, padded(self._resonators)), np.float32)
        self._filters = Convolution(_behind(self._resonators, effect.filters), size)
        heard = self._resonators + effect.filters.out_channels
        self._bands = heard - len(poles)
        self._poles = self._by_feature(poles)
        self._envelopes = np.zeros_like(self._poles)
        self._followed = np.zeros((size, LANES), np.float32)
        self._layers = Layers(effect.conditioning, effect.lstm, size, heard)
        self._weight = in_lanes(numbers(effect.readout.weight)).astype(np.float32)
        self._bias = numbers(effect.readout.bias).astype(np.float32)
        self._tone = StateSpace(effect.tone, size)
        self._toned = np.zeros((size, LANES), np.float32)
        self._last = Line(numbers(effect.last.weight)[0, 0, ::-1], size)
        self._offset = readout_of(effect.last)[1]
        self._kind, self._table = rule_for(lower_activation, effect.output_activation)(effect.output_activation, size)
        self._y = np.zeros((size, 1), np.float32)
        self._out = self._y.reshape(-1)

    def turn(self, controls: Tensor | None) -> None:
        self._layers.turn(controls)

    def load(self, state: Any) -> None:
        self._resonant.load(state["resonators"])
        self._filters.load(state["filters"])
        self._envelopes[:] = self._by_feature(numbers(state["envelopes"])[0])
        self._layers.load(state["conditioning"], state["lstm"])
        self._tone.load(state["tone"])
        self._last.load(numbers(state["last"])[0, 0])

    def run(self, x: np.ndarray, length: int) -> np.ndarray:
        z = self._filters.run(x, length)
        self._spread[:length] = x[:length]
        z[:length, : self._resonators] = self._resonant.run(self._spread, length)[:length, : self._resonators]
        follow_levels(z, self._bands, self._poles, self._envelopes, self._followed, length)
        h = self._layers.run(x, z, length)
        read_gain(h, self._weight, self._bias, x, self._out, length)
        self._toned[:length, 0] = self._out[:length]
        self._out[:length] = self._tone.run(self._toned, length)[:length, 0]
        self._last.run(self._out, length)
        self._out[:length] += self._offset
        bend(self._y, self._kind, self._table, length)
        return self._out

    def _by_feature(self, values: np.ndarray) -> np.ndarray:
        """Values (C,) of the followers at the places of their features, (G, LANES)."""
        return by_group(in_lanes(np.pad(values, (self._bands, 0))), np.float64)


def _behind(channels: int, conv: CausalConv1d) -> CausalConv1d:
    """A convolution whose outputs leave room for so many channels before them."""
    roomy = CausalConv1d(conv.in_channels, channels + conv.out_channels, conv.kernel_size[0])
    with torch.no_grad():
        for room, given in ((roomy.weight, conv.weight), (roomy.bias, conv.bias)):
            assert room is not None
            assert given is not None
            room[:channels] = 0
            room[channels:] = given
    return roomy


@lower_effect.register
def _(effect: LSTM, size: int) -> Plan:
    return LSTMPlan(effect, size)


@lower_effect.register
def _(effect: EnvelopeLSTM, size: int) -> Plan:
    return EnvelopePlan(effect, size)
