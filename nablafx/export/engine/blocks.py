"""Rules of the blocks of a stack: convolutions, gated or not, and state-space systems."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from nablafx.effects.gcn import GCNBlock
from nablafx.effects.s4 import S4Block
from nablafx.effects.stack import ConvBlock
from nablafx.effects.tcn import TCNBlock
from nablafx.export.engine.lowering import (
    Dense,
    NoLoweringError,
    by_group,
    in_lanes,
    lower_activation,
    numbers,
    padded,
    rule_for,
    taps_of,
)
from nablafx.export.engine.modulations import Modulator, Shared, lower_modulation
from nablafx.kernels.streams.nets import LANES, add_residual, convolve, finish, gate, run_ssm
from nablafx.kernels.streams.signals import enter
from nablafx.layers.causal_conv import CausalConv1d
from nablafx.layers.diagonal_ssm import DiagonalSSM
from nablafx.layers.residual import ChannelScale


class Part(Protocol):
    """What a rule makes of a block.

    Attributes:
        modulator: what its conditioning does.
    """

    modulator: Modulator

    def load(self, state: Any) -> None: ...

    def run(self, h: np.ndarray, length: int) -> np.ndarray:
        """Features h (T, I) -> (T, W)."""


@singledispatch
def lower_block(block: nn.Module, shared: Shared, size: int) -> Part:
    """The part of a plan that runs a block, for pieces of up to `size` samples."""
    raise NoLoweringError(block)


class Residual:
    """The scaled features that a block adds to its own: arguments of the loops, from the row on where they begin."""

    def __init__(self, weight: np.ndarray, channels: int) -> None:
        """
        Args:
            weight: (C,) of the outputs; of none: there is no residual.
            channels: of the input.
        """
        self.weight = in_lanes(weight).astype(np.float32)
        # the only feature of audio serves all channels, those that fill up the groups as well
        self.repeats = len(self.weight) if channels == 1 else len(weight) // channels


def residual_of(scale: nn.Module | None, channels: int) -> Residual:
    """That of a block whose input has so many channels."""
    if scale is None:
        return Residual(np.zeros(0), channels)
    if type(scale) is not ChannelScale:
        raise NoLoweringError(scale)
    return Residual(numbers(scale.weight)[:, 0], channels)


class Convolution:
    """A causal convolution with its past."""

    def __init__(self, conv: CausalConv1d, size: int, parts: int = 1) -> None:
        self._weight, self._bias = taps_of(conv, parts_out=parts)
        self._dilation, self._reach = conv.dilation[0], conv.context_length
        self._period = self._reach + size
        width = 1 if conv.in_channels == 1 else padded(conv.in_channels)
        self.ring = np.zeros((self._period + size, width), np.float32)
        self._first = self._position = 0
        self._z = np.zeros((size, self._bias.size), np.float32)

    def load(self, context: Tensor) -> None:
        past = numbers(context)[0].T
        self.ring[: self._reach] = past if self.ring.shape[1] == 1 else in_lanes(past)
        again = len(self.ring) - self._period
        self.ring[self._period :] = self.ring[:again]
        self._position = self._reach % self._period

    def run(self, h: np.ndarray, length: int) -> np.ndarray:
        """h (T, I) -> z (T, W)."""
        self._first = first = self._position
        self._position = enter(self.ring, first, self._period, h, length)
        convolve(self.ring, first, self._period, self._dilation, self._weight, self._bias, self._z, length)
        return self._z

    def row(self, delay: int) -> int:
        """Where the features of the last run begin in the ring, `delay` samples late."""
        row = self._first - delay
        return row if row >= 0 else row + self._period


class ConvPart:
    """What the blocks of TCN and GCN share."""

    def __init__(self, block: ConvBlock, shared: Shared, size: int, parts: int) -> None:
        self.conv = Convolution(block.conv, size, parts)
        rule = rule_for(lower_modulation, block.modulation)
        self.modulator: Modulator = rule(block.modulation, shared, block.conv.out_channels, size, parts)
        self.delay = block.delay.samples

    def load(self, state: Any) -> None:
        self.conv.load(state["context"])
        self.modulator.load(state["modulation"])

    def convolved(self, h: np.ndarray, length: int) -> np.ndarray:
        """Features that the modulator has heard, (T, W)."""
        z = self.conv.run(h, length)
        self.modulator.hear(z, length)
        return z


class TCNPart(ConvPart):
    """act(γ conv(h) + β) + w h."""

    def __init__(self, block: TCNBlock, shared: Shared, size: int) -> None:
        super().__init__(block, shared, size, 1)
        self._kind, self._table = rule_for(lower_activation, block.act)(block.act, size)
        self._residual = residual_of(block.residual, block.conv.in_channels)

    def run(self, h: np.ndarray, length: int) -> np.ndarray:
        z, m, r = self.convolved(h, length), self.modulator, self._residual
        ring, first = self.conv.ring, self.conv.row(self.delay)
        finish(z, m.rows, m.block, m.offset, self._kind, self._table, ring, first, r.repeats, r.weight, length)
        return z


class GCNPart(ConvPart):
    """tanh(first half) sigmoid(second half) of γ conv(h) + β; `pass_on` mixes that for the next block.

    Attributes:
        skip: (W,), what the output hears of it.
    """

    def __init__(self, block: GCNBlock, shared: Shared, size: int) -> None:
        super().__init__(block, shared, size, 2)
        self._mix = Dense(block.mix, size)
        width = block.mix.out_channels
        self._gated = np.zeros((size, padded(width)), np.float32)
        self.skip = in_lanes(numbers(block.skip.weight)[0, :, 0]).astype(np.float32)
        self._residual = Residual(np.ones(width) if block.residual else np.zeros(0), block.conv.in_channels)

    def run(self, h: np.ndarray, length: int) -> np.ndarray:
        z, m = self.convolved(h, length), self.modulator
        gate(z, m.rows, m.block, m.offset, self._gated, length)
        return self._gated

    def pass_on(self, length: int) -> np.ndarray:
        """What the next block hears of the last run, (T, W)."""
        out = self._mix.run(self._gated, length)
        r = self._residual
        if len(r.weight):
            add_residual(out, self.conv.ring, self.conv.row(self.delay), r.repeats, r.weight, length)
        return out


class S4Part:
    """act(γ ssm(act(W h + b)) + β) + w h."""

    def __init__(self, block: S4Block, shared: Shared, size: int) -> None:
        channels = block.linear.out_channels
        self._linear = Dense(block.linear, size, block.act_in)
        self._ssm = StateSpace(block.ssm, size)
        self.modulator: Modulator = rule_for(lower_modulation, block.modulation)(
            block.modulation, shared, channels, size, 1
        )
        self._kind, self._table = rule_for(lower_activation, block.act_out)(block.act_out, size)
        self._residual = residual_of(block.residual, channels)

    def load(self, state: Any) -> None:
        self._ssm.load(state["ssm"])
        self.modulator.load(state["modulation"])

    def run(self, h: np.ndarray, length: int) -> np.ndarray:
        z, m, r = self._ssm.run(self._linear.run(h, length), length), self.modulator, self._residual
        m.hear(z, length)
        finish(z, m.rows, m.block, m.offset, self._kind, self._table, h, 0, r.repeats, r.weight, length)
        return z


class StateSpace:
    """A diagonal state-space system for every channel."""

    def __init__(self, module: DiagonalSSM, size: int) -> None:
        system = module.system()
        z, gain, readout = (part.detach().numpy() for part in (system.log_z.exp(), system.gain, 2 * system.readout))
        rows = [z.real, -z.imag, z.imag, gain.real, gain.imag, readout.real, -readout.imag]
        # (H, N) each -> (G, N, 7, LANES)
        self._system = by_group(in_lanes(np.stack(rows, axis=1).T), np.float64)
        self._direct = by_group(in_lanes(numbers(system.direct)), np.float64)
        self._state = np.zeros((*self._system.shape[:2], 2, LANES))
        self._sums = np.zeros((size, LANES))
        self._z = np.zeros((size, self._direct.size), np.float32)

    def load(self, state: Tensor) -> None:
        self._state[:] = by_group(in_lanes(numbers(state)[0].transpose(1, 2, 0)), np.float64)

    def run(self, u: np.ndarray, length: int) -> np.ndarray:
        """u (T, W) -> z (T, W)."""
        run_ssm(u, self._system, self._direct, self._state, self._sums, self._z, length)
        return self._z


@lower_block.register
def _(block: TCNBlock, shared: Shared, size: int) -> Part:
    return TCNPart(block, shared, size)


@lower_block.register
def _(block: GCNBlock, shared: Shared, size: int) -> Part:
    return GCNPart(block, shared, size)


@lower_block.register
def _(block: S4Block, shared: Shared, size: int) -> Part:
    return S4Part(block, shared, size)
