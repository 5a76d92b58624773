"""The gain of a device over time: what a compressor does to the level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WINDOW_S = 0.02
# of full scale: what is quieter at the input has no gain that one could hear
QUIETEST_DB = -70.0


class GainTrace(NamedTuple):
    """Gain in dB of windows of 20 ms, NaN where the input is below -70 dB, and their middles in s; (N,) each."""

    times: np.ndarray
    gain_db: np.ndarray


def gain_trace(x: np.ndarray, y: np.ndarray, sample_rate: int, floor_db: float = -180.0) -> GainTrace:
    """20 log10 RMS(y) / RMS(x) in windows of dry x and wet y, (T,) each, without what is constant in a window.

    Wet audio below `floor_db` of full scale is taken for that: silence has a gain, too.

    Raises:
        ValueError: their lengths differ, or are below one window.
    """
    size = round(WINDOW_S * sample_rate)
    if len(x) != len(y) or len(x) < size:
        raise ValueError(f"gain_trace: got {len(x)} and {len(y)} samples, needs as many of both, {size} or more")
    count = len(x) // size
    dry, wet = (signal[: count * size].reshape(count, size).std(axis=1, dtype=np.float64) for signal in (x, y))
    heard = dry > 10 ** (QUIETEST_DB / 20)
    gain = np.full(count, np.nan)
    gain[heard] = 20 * np.log10(np.maximum(wet[heard], 10 ** (floor_db / 20)) / dry[heard])
    return GainTrace((np.arange(count) + 0.5) * size / sample_rate, gain)
