"""Frequency response at several levels, from one pass of exponential sine sweeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]
"""An effect from silence on: x (B, 1, T) -> y (B, 1, T)."""
LEVELS_DB = (-40.0, -20.0, -6.0)
FIRST_HZ = 20.0
LAST = 0.45  # of the sample rate
SILENCE_S = 0.05  # before a sweep
TAIL_S = 0.4  # after it, for what rings on
POINTS = 400
# of the strongest bin: beyond the ends of the sweep there is nothing to divide by
FLOOR = 1e-8


class SweepResponse(NamedTuple):
    """Linear response by level.

    Attributes:
        freqs_hz: (F,).
        levels_db: of the sweeps' peaks, re full scale, (L,).
        response: (L, F) complex: output to input at the same frequency.
    """

    freqs_hz: np.ndarray
    levels_db: tuple[float, ...]
    response: np.ndarray


@torch.no_grad()
def measure_sweep(
    run: Run, sample_rate: int, levels_db: Sequence[float] = LEVELS_DB, seconds: float = 1.5
) -> SweepResponse:
    """The response of an effect to sweeps from 20 Hz to 0.45 of the sample rate, all levels in one batch.

    With a synchronised sweep x(t) = sin(2π f₁ L exp(t / L)) each harmonic n answers as the sweep itself would, L ln n
    earlier; a window around time 0 leaves the linear part (Novak, Lotton, Simon, "Synchronized swept-sine: theory,
    application, and implementation", J. Audio Eng. Soc. 63 (10), 2015). An effect that follows the level answers at the
    level it has just then. Raises ValueError for no levels.
    """
    if not levels_db:
        raise ValueError("measure_sweep: got no levels, needs one or more")
    sweep, rate = _sweep(sample_rate, seconds)
    gains = torch.tensor([10 ** (level / 20) for level in levels_db]).view(-1, 1, 1)
    y = run(gains * torch.from_numpy(sweep).float().view(1, 1, -1)).cpu().double().numpy()[:, 0]
    size = 2 ** math.ceil(math.log2(2 * len(sweep)))
    spectrum = np.fft.rfft(sweep, size)
    power = np.abs(spectrum) ** 2
    # what silence leaves is no answer to the sweep
    answer = np.fft.rfft(y - y[:, :1], size) / gains.double().numpy()[:, 0]
    impulse = np.fft.irfft(answer * spectrum.conj() / (power + FLOOR * power.max()), size)
    window = _window(size, round(0.4 * rate * math.log(2) * sample_rate), round(TAIL_S * sample_rate))
    response = np.fft.rfft(impulse * window, size)
    freqs = np.geomspace(FIRST_HZ, LAST * sample_rate, POINTS)
    bins = freqs * size / sample_rate
    known = np.arange(response.shape[1])
    at_points = np.stack([np.interp(bins, known, row.real) + 1j * np.interp(bins, known, row.imag) for row in response])
    return SweepResponse(freqs, tuple(levels_db), at_points)


def _sweep(sample_rate: int, seconds: float) -> tuple[np.ndarray, float]:
    """The sweep between silences (T,), and its L in seconds. It begins below and ends above what is told."""
    low, high = FIRST_HZ / 2, min(LAST * 1.08, 0.495) * sample_rate
    rate = seconds / math.log(high / low)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    sweep = np.sin(2 * math.pi * low * rate * np.exp(time / rate))
    fade = round(0.01 * sample_rate)
    ramp = 0.5 - 0.5 * np.cos(math.pi * (np.arange(fade) + 0.5) / fade)
    sweep[:fade] *= ramp
    sweep[-fade:] *= ramp[::-1]
    return np.pad(sweep, (round(SILENCE_S * sample_rate), round(TAIL_S * sample_rate))), rate


def _window(size: int, before: int, after: int) -> np.ndarray:
    """1 around time 0, from `before` samples before it to `after` samples behind, with soft ends; circular (size,)."""
    window = np.zeros(size)
    window[:after] = 1.0
    window[size - before :] = 1.0
    fade = before // 2
    ramp = 0.5 + 0.5 * np.cos(math.pi * (np.arange(fade) + 0.5) / fade)
    window[after - fade : after] = ramp
    window[size - before : size - before + fade] = ramp[::-1]
    return window
