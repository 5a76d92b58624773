"""Passes over stretches of samples in flat arrays, for loops that numba compiles; they may have any length."""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.registers import LANES, load, spread, store, total, weighted
from nablafx.kernels.vectors import INLINED


@njit(**INLINED)
def move(a, n, out, k, count):
    """out = a."""
    t = 0
    while t + LANES <= count:
        store(out, k + t, load(a, n + t))
        t += LANES
    while t < count:
        out[k + t] = a[n + t]
        t += 1


@njit(**INLINED)
def scale(a, n, gain, shift, out, count):
    """out = gain a + shift, at the same place."""
    wide, base, t = spread(gain), spread(shift), n
    while t + LANES <= n + count:
        store(out, t, weighted(wide, load(a, t), base))
        t += LANES
    while t < n + count:
        out[t] = gain * a[t] + shift
        t += 1


@njit(**INLINED)
def blend(a, n, gain, b, m, out, k, count):
    """out = a + gain b."""
    wide, t = spread(gain), 0
    while t + LANES <= count:
        store(out, k + t, weighted(wide, load(b, m + t), load(a, n + t)))
        t += LANES
    while t < count:
        out[k + t] = gain * b[m + t] + a[n + t]
        t += 1


@njit(**INLINED)
def dot(a, n, b, m, count):
    """Σ a b."""
    sums, t = spread(np.float32(0)), 0
    while t + LANES <= count:
        sums = weighted(load(a, n + t), load(b, m + t), sums)
        t += LANES
    rest = total(sums)
    while t < count:
        rest += a[n + t] * b[m + t]
        t += 1
    return rest


@njit(**INLINED)
def add_up(a, n, count):
    """Σ a."""
    sums, t = spread(np.float32(0)), 0
    while t + LANES <= count:
        sums = sums + load(a, n + t)
        t += LANES
    rest = total(sums)
    while t < count:
        rest += a[n + t]
        t += 1
    return rest
