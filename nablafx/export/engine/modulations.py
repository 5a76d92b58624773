"""Rules of the conditionings: what all layers of a net share, and γ and β of each."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nablafx.conditioning import FiLM, FixedConditioning, TFiLM, TinyTFiLM, TVFiLM, Unconditioned
from nablafx.conditioning.base import Unmodulated
from nablafx.conditioning.film import FiLMModulation
from nablafx.conditioning.tfilm import BlockModulation
from nablafx.conditioning.tvfilm import TVFiLMModulation
from nablafx.export.engine.lowering import FOREVER, Dense, NoLoweringError, in_lanes, numbers, padded
from nablafx.export.engine.recurrence import Listener


class Shared:
    """What a conditioning makes for all layers: features of the knobs, or of the audio by a listener.

    Attributes:
        num_controls: that layers with listeners of their own hear.
        controls: (1, P) as they stand.
        features: (F,) float64; None: there are none, or they are the rows of the listener.
        listener: None where nothing changes with the audio.
    """

    def __init__(self, conditioning: nn.Module, listener: Listener | None = None) -> None:
        self._conditioning = conditioning
        self.num_controls: int = conditioning.num_controls  # type: ignore[assignment]
        self.listener = listener
        self.controls: Tensor | None = None
        self.features: np.ndarray | None = None

    def turn(self, controls: Tensor | None) -> None:
        self.controls = controls
        if self.listener:
            self.listener.turn(controls)
        elif self._conditioning.num_features:
            held, _ = self._conditioning.encode(torch.zeros(1, 1, 1), controls, ())  # type: ignore[operator]
            self.features = numbers(held.values)[0, :, 0]

    def load(self, state: Any) -> None:
        if self.listener:
            self.listener.load(state)

    def hear(self, x: np.ndarray, length: int) -> None:
        """Audio x (T, 1)."""
        if self.listener:
            self.listener.run(x, length)


class Modulator:
    """What multiplies and shifts the features (T, W) of a layer; this one passes them as they are.

    Attributes:
        rows: (N, 2, W), γ and β of each block.
        block: samples that a row holds for.
        offset: samples of the first block that lie before the last run.
    """

    def __init__(self, width: int) -> None:
        self.rows = np.zeros((1, 2, width), np.float32)
        self.rows[0, 0] = 1
        self.block, self.offset = FOREVER, 0

    def turn(self, shared: Shared) -> None:
        """After `shared` has turned."""

    def load(self, state: Any) -> None:
        """The state of the modulation."""

    def hear(self, z: np.ndarray, length: int) -> None:
        """Features z (T, W) of the layer, before they are modulated; after `shared` has heard the audio."""


class FiLMModulator(Modulator):
    """γ and β of the knobs, with the normalisation taken up into them."""

    def __init__(self, modulation: FiLMModulation, parts: int) -> None:
        super().__init__(parts * padded(len(modulation.norm.mean) // parts))
        self._modulation, self._parts = modulation, parts

    def turn(self, shared: Shared) -> None:
        linear = self._modulation.linear
        scale, shift = np.split(numbers(linear.weight) @ shared.features + numbers(linear.bias), 2)
        gain, bias = (numbers(part)[:, 0] for part in self._modulation.norm.affine())
        self.rows[0, 0] = in_lanes(scale * gain, self._parts)
        self.rows[0, 1] = in_lanes(shift + scale * bias, self._parts)


class BlockModulator(Modulator):
    """γ and β of what a listener makes, its own or the one that all share, through dense layers."""

    def __init__(self, listener: Listener, owned: bool, layers: list[Dense]) -> None:
        self._listener, self._owned, self._layers = listener, owned, layers
        rows = layers[-1].out if layers else listener.rows
        self.rows = rows.reshape(len(rows), 2, -1)
        self.block, self.offset = listener.block, 0

    def turn(self, shared: Shared) -> None:
        if self._owned:
            self._listener.turn(shared.controls)

    def load(self, state: Any) -> None:
        if self._owned:
            self._listener.load(state)

    def hear(self, z: np.ndarray, length: int) -> None:
        if self._owned:
            self._listener.run(z, length)
        self.offset = self._listener.offset
        rows = self._listener.rows
        for layer in self._layers:
            rows = layer.run(rows, self._listener.count)


@singledispatch
def lower_conditioning(conditioning: nn.Module, size: int) -> Shared:
    """What all layers share, for pieces of up to `size` samples."""
    raise NoLoweringError(conditioning)


@lower_conditioning.register(Unconditioned)
@lower_conditioning.register(FixedConditioning)
@lower_conditioning.register(FiLM)
@lower_conditioning.register(TFiLM)
@lower_conditioning.register(TinyTFiLM)
def _(conditioning: nn.Module, size: int) -> Shared:
    return Shared(conditioning)


@lower_conditioning.register
def _(conditioning: TVFiLM, size: int) -> Shared:
    return Shared(conditioning, Listener(conditioning.listener, size, conditioning.num_controls, rectify=True))


@singledispatch
def lower_modulation(modulation: nn.Module, shared: Shared, channels: int, size: int, parts: int) -> Modulator:
    """The modulator of a layer of so many channels, which lie in so many parts of whole groups."""
    raise NoLoweringError(modulation)


@lower_modulation.register
def _(modulation: Unmodulated, shared: Shared, channels: int, size: int, parts: int) -> Modulator:
    return Modulator(parts * padded(channels // parts))


@lower_modulation.register
def _(modulation: FiLMModulation, shared: Shared, channels: int, size: int, parts: int) -> Modulator:
    return FiLMModulator(modulation, parts)


@lower_modulation.register
def _(modulation: TVFiLMModulation, shared: Shared, channels: int, size: int, parts: int) -> Modulator:
    assert shared.listener is not None
    readout = Dense(modulation.readout, len(shared.listener.rows), parts_out=2 * parts)
    return BlockModulator(shared.listener, False, [readout])


@lower_modulation.register
def _(modulation: BlockModulation, shared: Shared, channels: int, size: int, parts: int) -> Modulator:
    # without layers behind it, the units of the listener are γ and β themselves
    units = 2 * parts if isinstance(modulation.readout, nn.Identity) else 1
    listener = Listener(modulation.listener, size, shared.num_controls, parts_in=parts, parts=units)
    return BlockModulator(listener, True, _readout(modulation.readout, len(listener.rows), 2 * parts))


def _readout(readout: nn.Module, most: int, parts: int) -> list[Dense]:
    """Linear layers, each with the activation behind it, the last one's outputs in parts of whole groups."""
    modules: list[Any] = [*readout.children(), None]
    places = [n for n, module in enumerate(modules) if isinstance(module, nn.Linear)]
    return [Dense(modules[n], most, modules[n + 1], parts_out=parts if n == places[-1] else 1) for n in places]
