"""Audio at other moments than its samples: shifted by a fraction, and at the pace of another clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

HALF = 48  # taps on either side: flat to 1e-5 up to 0.45 of the rate
_PHASES = 4096  # between two samples; a line between two of them errs by less than 1e-7
_BETA = 10.0  # of Kaiser's window
_BLOCK = 1 << 14

Source = Callable[[int, int], np.ndarray]
"""Samples start to stop of a stream."""


def shifted(source: Source, frames: int, delay: float, ppm: float, start: int, stop: int) -> Iterator[np.ndarray]:
    """y[n] = x(n + delay + 1e-6 ppm n) for n from start to stop, in blocks, by windowed-sinc interpolation.

    So a stream that is late by `delay`, and by `ppm` more with every million samples, comes to lie where it belongs.

    Args:
        source: is asked for samples between 0 and `frames`; beyond them x is silence.
    """
    for first in range(start, stop, _BLOCK):
        at = np.arange(first, min(first + _BLOCK, stop), dtype=np.float64)
        at = at + delay + 1e-6 * ppm * at
        whole = np.floor(at).astype(np.int64)
        low, high = int(whole[0]) - HALF + 1, int(whole[-1]) + HALF + 1
        audio = np.zeros(high - low)
        known = slice(max(low, 0), min(high, frames))
        if known.stop > known.start:
            audio[known.start - low : known.stop - low] = source(known.start, known.stop)
        windows = np.lib.stride_tricks.sliding_window_view(audio, 2 * HALF)[whole - whole[0]]
        yield np.einsum("nk,nk->n", windows, _taps(at - whole))


def _taps(fraction: np.ndarray) -> np.ndarray:
    """(N, 2 HALF): the kernel for each moment, by a line between the two nearest of the table; one for equal ones."""
    if np.ptp(fraction) < 1e-9:
        return np.broadcast_to(_kernel(float(fraction[0])), (len(fraction), 2 * HALF))
    place = fraction * _PHASES
    below = np.minimum(place.astype(np.int64), _PHASES - 1)
    share = (place - below)[:, None]
    table = _table()
    return (1 - share) * table[below] + share * table[below + 1]


@cache
def _table() -> np.ndarray:
    return np.stack([_kernel(phase / _PHASES) for phase in range(_PHASES + 1)])


def _kernel(fraction: float) -> np.ndarray:
    """Taps for the moment `fraction` after tap HALF - 1."""
    distance = np.arange(-HALF + 1, HALF + 1) - fraction
    window = np.i0(_BETA * np.sqrt(np.maximum(1 - (distance / HALF) ** 2, 0))) / np.i0(_BETA)
    return np.sinc(distance) * window
