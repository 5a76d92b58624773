"""What runs processors: those that have no rule, gains and curves, and compressors.

What parameters decide is computed in torch, by the processor's own functions: with static controllers once a turn of
the knobs, with dynamic ones once a block. What is done to every sample is a loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nablafx.dsp.units import db_to_amplitude, pole
from nablafx.export.engine.lowering import lower_activation, numbers, rule_for
from nablafx.kernels.clipping.loops import stream
from nablafx.kernels.streams.nets import bend
from nablafx.kernels.streams.signals import blend, compress, look_up, scale_and_shift
from nablafx.layers.held import Held
from nablafx.processors import AsymmetricClipper, Compressor, Processor
from nablafx.processors.clipper import moving
from nablafx.processors.compressor import SILENCE

Params = dict[str, Held]


class Processing:
    """What a rule makes of a processor; this one does nothing.

    `run` changes `audio` (size,) of the last buffer in place; parameters of sample t are those at
    (t + offset) // block of what `steer` was given last.
    """

    def steer(self, params: Params) -> None:
        """Take physical values by name."""

    def load(self, state: Any) -> None:
        """Copy the processor's state."""

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        """Audio at this stage, and at the input of the chain, (size,)."""
        raise NotImplementedError


class TorchProcessing(Processing):
    """A processor as it is."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._params: Params = {}
        self._state: Any = None

    def steer(self, params: Params) -> None:
        self._params = params

    def load(self, state: Any) -> None:
        self._state = state

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        x, d = (torch.from_numpy(signal[:length]).view(1, 1, -1) for signal in (audio, dry))
        params = {n: held._replace(offset=offset) if held.block_size else held for n, held in self._params.items()}
        y, self._state = self._processor.process(self._processor.hear(x, d), self._state, **params)
        audio[:length] = y.view(-1).numpy()


class Level(Processing):
    """Gain, offset and inversion: scale x + shift."""

    def __init__(self, scale: float = 1.0, by_gain: bool = False, by_offset: bool = False) -> None:
        self._scales, self._shifts = np.full(1, scale, np.float32), np.zeros(1, np.float32)
        self._by_gain, self._by_offset = by_gain, by_offset

    def steer(self, params: Params) -> None:
        if self._by_gain:
            self._scales = row(db_to_amplitude(params["gain_db"].values))
            self._shifts = np.zeros_like(self._scales)
        elif self._by_offset:
            self._shifts = row(params["offset"].values)
            self._scales = np.ones_like(self._shifts)

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        scale_and_shift(audio, self._scales, self._shifts, block, offset, length)


class Mixing(Processing):
    """mix x + (1 - mix) dry."""

    def steer(self, params: Params) -> None:
        self._wet = row(params["mix"].values)
        self._dry = 1 - self._wet

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        blend(audio, dry, self._wet, self._dry, block, offset, length)


class Bending(Processing):
    """An activation."""

    def __init__(self, activation: nn.Module) -> None:
        self._kind, self._table = rule_for(lower_activation, activation)(activation, 1)

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        bend(audio.reshape(-1, 1), self._kind, self._table, length)


class LookUp(Processing):
    """A curve in pieces, see :func:`nablafx.export.engine.curves.pieces_of`."""

    def __init__(self, reach: float, pieces: np.ndarray) -> None:
        self._reach, self._pieces = reach, pieces

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        look_up(audio, self._reach, self._pieces, length)


class Compression(Processing):
    """A compressor with its envelope."""

    def __init__(self, processor: Compressor) -> None:
        self._rate = processor.sample_rate
        self._reduction = np.zeros(1)

    def steer(self, params: Params) -> None:
        values = torch.broadcast_tensors(*(held.values.reshape(-1) for held in params.values()))
        p = dict(zip(params, values, strict=True))
        poles = (pole(p[name], self._rate) for name in ("attack_ms", "release_ms"))
        rows = [p["threshold_db"], 1 - 1 / p["ratio"], p["knee_db"].clamp(min=1e-3), *poles, p["makeup_db"]]
        self._settings = torch.stack(rows, dim=-1).contiguous().numpy()

    def load(self, state: Any) -> None:
        self._reduction[:] = numbers(state)[0]

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        compress(audio, self._settings, SILENCE, block, offset, self._reduction, length)


class Clipping(Processing):
    """A clipper, and what moves its operating point."""

    def __init__(self, processor: AsymmetricClipper) -> None:
        self._rate, self._antialias = processor.sample_rate, processor.antialias
        self._state = np.zeros(3)

    def steer(self, params: Params) -> None:
        values = torch.broadcast_tensors(*(held.values.reshape(-1) for held in params.values()))
        p = dict(zip(params, values, strict=True))
        rows = [db_to_amplitude(p["drive_db"])]
        rows += [p[name] for name in ("bias", "negative_limit", "positive_knee", "negative_knee")]
        self._settings = torch.stack([*rows, *moving(p, self._rate)], dim=-1).contiguous().numpy()

    def load(self, state: Any) -> None:
        self._state[:] = [float(state[name]) if name in state else 0.0 for name in ("before", "fed", "charge")]

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        stream(audio, self._settings, self._antialias, block, offset, self._state, length)


def row(values: Tensor) -> np.ndarray:
    """Values (1, 1, N) -> (N,) float32."""
    return values.reshape(-1).float().contiguous().numpy()
