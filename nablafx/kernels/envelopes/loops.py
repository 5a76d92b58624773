"""The loops of levels, compiled by numba: each sample of all followers together, and logarithms by chunks."""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.envelopes.reference import FLOOR as _FLOOR
from nablafx.kernels.envelopes.reference import SLOPE as _SLOPE
from nablafx.kernels.vectors import LOOP, log

CHUNK = 128
ONE, FLOOR, SLOPE = np.float32(1), np.float32(_FLOOR), np.float32(_SLOPE)


@njit(**LOOP)
def forward(z, pole, state, out, first, last):
    """Items first to last: z (B, K + C, T), out (B, T, K + C); state (B, C) is overwritten."""
    followers, length = len(pole), z.shape[2]
    passed = z.shape[1] - followers
    told = np.empty(CHUNK * followers, np.float32)
    for item in range(first, last):
        e = state[item]
        for begin in range(0, length, CHUNK):
            count = min(CHUNK, length - begin)
            for s in range(count):
                for c in range(passed):
                    out[item, begin + s, c] = z[item, c, begin + s]
                for c in range(followers):
                    u = abs(np.float64(z[item, passed + c, begin + s]))
                    e[c] = u + pole[c] * (e[c] - u)
                    told[s * followers + c] = e[c]
            for n in range(count * followers):
                told[n] = ONE + SLOPE * log(told[n] + FLOOR)
            for s in range(count):
                for c in range(followers):
                    out[item, begin + s, passed + c] = told[s * followers + c]


@njit(**LOOP)
def backward(grad, z, pole, zi, grad_z, by_pole, adjoint, first, last):
    """grad (B, T, K + C); by_pole (B, C) gets each item's part; adjoint (B, C), of the last e, becomes that of zi."""
    followers, length = len(pole), z.shape[2]
    passed = z.shape[1] - followers
    before, slopes = np.empty((length + 1, followers)), np.empty(length * followers, np.float32)
    for item in range(first, last):
        before[0] = zi[item]
        for t in range(length):
            for c in range(passed):
                grad_z[item, c, t] = grad[item, t, c]
            for c in range(followers):
                u = abs(np.float64(z[item, passed + c, t]))
                before[t + 1, c] = u + pole[c] * (before[t, c] - u)
        e = before.reshape(-1)[followers:]
        for n in range(len(slopes)):
            slopes[n] = SLOPE / (np.float32(e[n]) + FLOOR)
        g, sums = adjoint[item], by_pole[item]
        for t in range(length - 1, -1, -1):
            for c in range(followers):
                x = z[item, passed + c, t]
                g[c] += np.float64(grad[item, t, passed + c]) * slopes[t * followers + c]
                sums[c] += g[c] * (before[t, c] - abs(np.float64(x)))
                by_u = np.float32(g[c] * (1 - pole[c]))
                # as of torch's abs, nothing at 0
                grad_z[item, passed + c, t] = by_u if x > 0 else (-by_u if x < 0 else by_u * x)
                g[c] *= pole[c]
