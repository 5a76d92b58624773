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
    """grad (B, T, K + C); by_pole (B, C) gets each item's part; adjoint (B, C), of the last e, becomes that of zi.

    One follower after the other: what goes back from sample to sample stays in a register.
    """
    followers, length = len(pole), z.shape[2]
    passed = z.shape[1] - followers
    before, slopes = np.empty(length + 1), np.empty(length, np.float32)
    for item in range(first, last):
        for c in range(passed):
            for t in range(length):
                grad_z[item, c, t] = grad[item, t, c]
        for c in range(followers):
            x, by_x, p = z[item, passed + c], grad_z[item, passed + c], pole[c]
            e = before[0] = zi[item, c]
            for t in range(length):
                e = p * e + (1 - p) * abs(np.float64(x[t]))
                before[t + 1] = e
            for t in range(length):
                slopes[t] = SLOPE / (np.float32(before[t + 1]) + FLOOR) * grad[item, t, passed + c]
            g, total = adjoint[item, c], 0.0
            for t in range(length - 1, -1, -1):
                g += slopes[t]
                total += g * (before[t] - abs(np.float64(x[t])))
                # as of torch's abs, nothing at 0; a branch by the sign of audio would be guessed wrong half the time
                by_x[t] = np.float32((1 - p) * g) * (np.float32(x[t] > 0) - np.float32(x[t] < 0))
                g *= p
            by_pole[item, c], adjoint[item, c] = total, g
