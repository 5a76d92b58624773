"""Harmonic distortion, aliasing and the transfer loop, from one pass of steady sines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from nablafx.analysis.sweep import LAST, Run

SIZE = 2**14  # samples of a spectrum
SETTLE_S = 0.25
COUNT = 24
LOOP_HZ = 110.0


class Distortion(NamedTuple):
    """What comes beside a sine, as power relative to the fundamental's, by frequency (F,).

    Attributes:
        gain: of the fundamental, complex: output to input.
        odd, even: harmonics below half the sample rate.
        inharmonic: all else but DC: what aliases, noise, and sidebands of what moves.
    """

    freqs_hz: np.ndarray
    level_db: float
    gain: np.ndarray
    odd: np.ndarray
    even: np.ndarray
    inharmonic: np.ndarray

    @property
    def aliasing_to_signal(self) -> float:
        """Inharmonic power over that of fundamental and harmonics, the mean over the frequencies: the ASR."""
        return float(np.mean(self.inharmonic / (1 + self.odd + self.even)))

    @property
    def thd(self) -> np.ndarray:
        """RMS of the harmonics to the fundamental's, (F,)."""
        return np.sqrt(self.odd + self.even)


class TransferLoop(NamedTuple):
    """Input and output over one period of a slow sine, (N,) each: a line where there is no memory, else a loop."""

    x: np.ndarray
    y: np.ndarray
    frequency_hz: float


@torch.no_grad()
def measure_distortion(
    run: Run, sample_rate: int, level_db: float = -12.0, count: int = COUNT, last_hz: float = 10_000.0
) -> Distortion:
    """Send `count` sines, log-spaced from 50 Hz to `last_hz`, through an effect, in one batch.

    Each has an odd number of periods in 2^14 samples: no order below 2^13 aliases onto a harmonic, so that what is
    between the harmonics is what aliased. Raises ValueError for fewer than one sine.
    """
    if count < 1:
        raise ValueError(f"measure_distortion: got {count} sines, needs one or more")
    periods = _odd(np.geomspace(50.0, min(last_hz, LAST * sample_rate), count) * SIZE / sample_rate)
    spectra, amplitude = _steady(run, sample_rate, periods, level_db)
    power = np.abs(spectra) ** 2
    parts = []
    for row, period in zip(power, periods, strict=True):
        harmonics = row[period::period]
        fundamental = max(harmonics[0], 1e-30)
        odd, even = harmonics[2::2].sum(), harmonics[1::2].sum()
        rest = row[1:].sum() - harmonics.sum()
        parts.append((odd / fundamental, even / fundamental, max(rest, 0.0) / fundamental))
    odd, even, inharmonic = np.array(parts).T
    # a sine's bin is -i A N / 2
    gain = np.array([row[p] for row, p in zip(spectra, periods, strict=True)]) * 2j / (amplitude * SIZE)
    return Distortion(periods * sample_rate / SIZE, level_db, gain, odd, even, inharmonic)


@torch.no_grad()
def measure_loop(run: Run, sample_rate: int, level_db: float = 0.0) -> TransferLoop:
    """One period of 110 Hz through an effect, once it has settled."""
    period = round(sample_rate / LOOP_HZ)
    settle = math.ceil(SETTLE_S * sample_rate / period) * period
    x = 10 ** (level_db / 20) * np.sin(2 * np.pi * np.arange(settle + period) / period)
    y = run(torch.from_numpy(x).float().view(1, 1, -1)).cpu().double().numpy()[0, 0]
    return TransferLoop(x[settle:], y[settle:], sample_rate / period)


def _odd(periods: np.ndarray) -> np.ndarray:
    """The nearest odd numbers, each once."""
    return np.unique(2 * np.floor(np.maximum(periods, 1.0) / 2).astype(int) + 1)


def _steady(
    run: Run, sample_rate: int, periods: Sequence[int] | np.ndarray, level_db: float
) -> tuple[np.ndarray, float]:
    """Spectra (F, SIZE / 2 + 1) of the answers to sines with so many periods in SIZE, after they have settled."""
    settle = math.ceil(SETTLE_S * sample_rate / SIZE) * SIZE
    time = np.arange(settle + SIZE)
    amplitude = 10 ** (level_db / 20)
    x = amplitude * np.sin(2 * np.pi * np.outer(np.asarray(periods), time) / SIZE)
    y = run(torch.from_numpy(x).float().unsqueeze(1)).cpu().double().numpy()[:, 0]
    return np.fft.rfft(y[:, settle:]), amplitude
