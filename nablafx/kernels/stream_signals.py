"""Loops of streamed audio around those of the networks, compiled by numba: rings, pools, and processors.

A ring holds what a convolution remembers, `period` rows, and behind them its first rows once more: so many that any
block of rows can be read, and is written, in one piece.
"""

from __future__ import annotations

import numpy as np
from numba import njit

CONTRACT = {"contract"}


@njit(nogil=True)
def _copy(source, first, target, to, count):
    """count rows of source from `first` on, to the rows of target from `to` on."""
    width = source.shape[1]
    given, taken = source.reshape(-1), target.reshape(-1)
    for n in range(count * width):
        taken[to * width + n] = given[first * width + n]


@njit(nogil=True, cache=True)
def enter(ring, position, period, rows, length):
    """Write the first `length` rows into the ring from `position` on; the next one's position."""
    again = ring.shape[0] - period
    stop = position + length
    _copy(rows, 0, ring, position, length)
    if stop > period:
        _copy(rows, period - position, ring, 0, stop - period)
    if position < again:
        _copy(rows, 0, ring, period + position, min(stop, again) - position)
    return stop - period if stop >= period else stop


@njit(nogil=True, cache=True)
def pool(source, block, rectify, peak, filled, out, length, ends):
    """Rows of the largest values (or magnitudes) of every block that becomes whole; returns how many.

    peak (W,) and filled (1,) have what was heard of the unfinished block. ends: 1: that becomes a row too, at last; 2:
    filled up with zeros.
    """
    made, t = 0, 0
    while t < length:
        if filled[0] == 0:
            peak[:] = -np.inf
        until = min(t + block - filled[0], length)
        for s in range(t, until):
            for c in range(len(peak)):
                value = abs(source[s, c]) if rectify else source[s, c]
                peak[c] = max(peak[c], value)
        filled[0] += until - t
        t = until
        if filled[0] == block or (ends and t == length):
            if ends == 2 and filled[0] < block:
                peak[:] = np.maximum(peak, np.float32(0))
            out[made] = peak
            made += 1
            filled[0] = 0
    return made
