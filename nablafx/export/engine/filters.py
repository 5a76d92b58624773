"""What runs processors that are linear and have memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx.dsp.filtering import state_variable_form, transposed_direct_form
from nablafx.export.engine.lowering import numbers
from nablafx.export.engine.processing import Params, Processing, row
from nablafx.kernels.filters.loops import forward
from nablafx.kernels.filters.reference import CHUNK
from nablafx.kernels.streams.signals import blend, convolve_taps, enter
from nablafx.processors import PhaseShift, SosProcessor
from nablafx.processors.base import flat
from nablafx.processors.fir import TapsProcessor


class Sections:
    """Second-order sections in series, with the loop of training."""

    def __init__(self, size: int) -> None:
        self._size = size

    def steer(self, coefficients: Tensor) -> None:
        """(1, N, K, 9), see :mod:`nablafx.kernels.filters.reference`."""
        self._coefficients = coefficients.contiguous().numpy()

    def load(self, state: Tensor) -> None:
        """(1, 1, K, 2)."""
        self._state = numbers(state)[0].copy()
        self._checkpoints = np.zeros((1, self._size // CHUNK + 1, *self._state.shape[1:]))

    def run(self, x: np.ndarray, y: np.ndarray, length: int, block: int, offset: int) -> None:
        """x (size,) to y (size,), which may be the same."""
        given, made = x.reshape(1, -1)[:, :length], y.reshape(1, -1)[:, :length]
        forward(given, self._coefficients, self._state, self._checkpoints, made, block, offset, 1, CHUNK, 0, 1)


class Filtering(Processing):
    """A SosProcessor."""

    def __init__(self, processor: SosProcessor, size: int) -> None:
        self._processor = processor
        self._sections = Sections(size)

    def steer(self, params: Params) -> None:
        self._sections.steer(state_variable_form(self._processor.sections(**flat(params))))

    def load(self, state: Any) -> None:
        self._sections.load(state)

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        self._sections.run(audio, audio, length, block, offset)


class PhaseShifting(Processing):
    """Two all-pass chains, and the sum of what they give."""

    def __init__(self, processor: PhaseShift, size: int) -> None:
        self._processor = processor
        self._chains = Sections(size), Sections(size)
        self._quadrature = np.zeros(size, np.float32)

    def steer(self, params: Params) -> None:
        for sections, sos in zip(self._chains, self._processor.chains(**flat(params)), strict=True):
            sections.steer(transposed_direct_form(sos))
        angle = torch.deg2rad(params["shift_deg"].values)
        self._cosine, self._sine = row(angle.cos()), row(angle.sin())

    def load(self, state: Any) -> None:
        for sections, part in zip(self._chains, state.chunk(2, dim=2), strict=True):
            sections.load(part)

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        in_phase, quadrature = self._chains
        quadrature.run(audio, self._quadrature, length, block, offset)
        in_phase.run(audio, audio, length, block, offset)
        blend(audio, self._quadrature, self._cosine, self._sine, block, offset, length)


class Line:
    """A FIR filter, tap by tap: of a thousand taps faster than transforms for blocks as short as a stream's."""

    def __init__(self, taps: np.ndarray, size: int) -> None:
        """
        Args:
            taps: (L,), the first one meets the newest sample.
        """
        self._past = len(taps) - 1
        self._taps = np.pad(taps, (0, -len(taps) % 4)).astype(np.float32)
        reach = len(self._taps) - 1
        self._period = reach + size
        # the taps of a group are read from where the oldest begins
        self._ring = np.zeros((self._period + size + 3, 1), np.float32)
        self._y = np.zeros(size, np.float32)

    def load(self, past: np.ndarray) -> None:
        """Set the samples before, (L - 1,)."""
        self._ring[:] = 0
        self._position = len(self._taps) - 1
        self._ring[self._position - self._past : self._position, 0] = past
        again = len(self._ring) - self._period
        self._ring[self._period :] = self._ring[:again]

    def run(self, audio: np.ndarray, length: int) -> None:
        """Change audio (size,) in place."""
        first = self._position
        self._position = enter(self._ring, first, self._period, audio.reshape(-1, 1), length)
        convolve_taps(self._ring, first, self._period, self._taps, self._y, length)
        audio[:length] = self._y[:length]


class Taps(Processing):
    """A FIR filter of the taps that its processor has."""

    def __init__(self, processor: TapsProcessor, size: int) -> None:
        self._line = Line(numbers(processor.taps()), size)

    def load(self, state: Any) -> None:
        self._line.load(numbers(state)[0, 0])

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int, block: int, offset: int) -> None:
        self._line.run(audio, length)
