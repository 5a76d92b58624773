"""Loops of streamed audio around those of the networks, compiled by numba: rings, pools, and processors.

A ring holds what a convolution remembers, `period` rows, and behind them its first rows once more: so many that any
block of rows can be read, and is written, in one piece.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nablafx.kernels.vectors import INLINED, LOOP


@njit(**INLINED)
def _copy(source, first, target, to, count):
    """count rows of source from `first` on, to the rows of target from `to` on."""
    width = source.shape[1]
    given, taken = source.reshape(-1)[first * width :], target.reshape(-1)[to * width :]
    for n in range(count * width):
        taken[n] = given[n]


@njit(**LOOP)
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


@njit(**LOOP)
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


@njit(**LOOP)
def scale_and_shift(x, scales, shifts, block, offset, length):
    """x <- scale x + shift in place, of sample t those (N,) at (t + offset) // block."""
    t = 0
    while t < length:
        n = (t + offset) // block
        until = min((n + 1) * block - offset, length)
        scale, shift = scales[n], shifts[n]
        for s in range(t, until):
            x[s] = scale * x[s] + shift
        t = until


@njit(**LOOP)
def blend(x, other, weights, other_weights, block, offset, length):
    """x <- w x + v other in place, weights as in `scale_and_shift`."""
    t = 0
    while t < length:
        n = (t + offset) // block
        until = min((n + 1) * block - offset, length)
        weight, other_weight = weights[n], other_weights[n]
        for s in range(t, until):
            x[s] = weight * x[s] + other_weight * other[s]
        t = until


@njit(**LOOP)
def look_up(x, reach, pieces, length):
    """x <- curve in place: pieces (N, 4) float64 of cubics in the place within each Nth of [-reach, reach].

    What lies outside gets the value of the nearer end.
    """
    count = len(pieces)
    for t in range(length):
        place = (min(max(x[t] / reach, -1.0), 1.0) + 1.0) * (0.5 * count)
        # no number has no place: read from any piece, it stays none
        n = min(int(place), count - 1) if place >= 0 else 0
        f = place - n
        x[t] = ((pieces[n, 3] * f + pieces[n, 2]) * f + pieces[n, 1]) * f + pieces[n, 0]


@njit(**LOOP)
def convolve_taps(ring, position, period, taps, out, length):
    """out[t] = Σ_k taps[k] ring[position + t - k]; taps: whole groups of four."""
    out[:length] = 0
    for k in range(0, len(taps), 4):
        a, b, c, d = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        # of the oldest of the four: the others follow it, if only in the rows that the ring has twice
        first = position - k - 3
        if first < 0:
            first += period
        for t in range(length):
            n = first + t
            out[t] += a * ring[n + 3, 0] + b * ring[n + 2, 0] + c * ring[n + 1, 0] + d * ring[n, 0]


@njit(**LOOP)
def compress(x, settings, silence, block, offset, reduction, length):
    """A feed-forward compressor in place: see :class:`nablafx.processors.Compressor`.

    settings: (N, 6) float64 of threshold and slope, knee, poles of attack and release, make-up gain; reduction: (1,)
    in dB, overwritten.
    """
    e = reduction[0]
    for t in range(length):
        n = (t + offset) // block
        threshold, slope, knee = settings[n, 0], settings[n, 1], settings[n, 2]
        attack, release, makeup = settings[n, 3], settings[n, 4], settings[n, 5]
        u = float(x[t])
        over = 10 * math.log10(u * u + silence) - threshold
        within = min(max(over + knee / 2, 0.0), knee)
        demand = slope * (within * within / (2 * knee) + max(over - knee / 2, 0.0))
        e = demand + (attack if demand > e else release) * (e - demand)
        x[t] = u * 10 ** ((makeup - e) / 20)
    reduction[0] = e
