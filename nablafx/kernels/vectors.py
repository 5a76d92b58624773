"""Vectors of sixteen numbers and their functions, for loops that numba compiles.

A group of sixteen numbers travels as a tuple, which the compiler makes vector registers of.

numba asks only whether the file of a compiled loop is still what it was, and not whether this one is: who changes it
empties the caches (`__pycache__/*.nb?` beside the loops).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit

LANES = 16
# products may be fused with sums, and nothing is reordered. A quotient that may raise an error would keep its loop from
# becoming one over vectors
INLINED: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
LOOP: dict[str, Any] = {**INLINED, "cache": True}
NOTHING = (np.float32(0),) * LANES

# numba leaves off the pass of LLVM that makes vectors of tuples
numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]


@njit(**INLINED)
def load(a):
    """The first sixteen numbers of an array."""
    return a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]


@njit(**INLINED)
def store(a, v):
    """Write sixteen numbers into an array."""
    a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15] = v


@njit(**INLINED)
def scaled(s, v, w):
    """s v + w for a number s."""
    low = s * v[0] + w[0], s * v[1] + w[1], s * v[2] + w[2], s * v[3] + w[3]
    mid = s * v[4] + w[4], s * v[5] + w[5], s * v[6] + w[6], s * v[7] + w[7]
    top = s * v[8] + w[8], s * v[9] + w[9], s * v[10] + w[10], s * v[11] + w[11]
    end = s * v[12] + w[12], s * v[13] + w[13], s * v[14] + w[14], s * v[15] + w[15]
    return low + mid + top + end


@njit(**INLINED)
def weighted(u, v, w):
    """u v + w."""
    low = u[0] * v[0] + w[0], u[1] * v[1] + w[1], u[2] * v[2] + w[2], u[3] * v[3] + w[3]
    mid = u[4] * v[4] + w[4], u[5] * v[5] + w[5], u[6] * v[6] + w[6], u[7] * v[7] + w[7]
    top = u[8] * v[8] + w[8], u[9] * v[9] + w[9], u[10] * v[10] + w[10], u[11] * v[11] + w[11]
    end = u[12] * v[12] + w[12], u[13] * v[13] + w[13], u[14] * v[14] + w[14], u[15] * v[15] + w[15]
    return low + mid + top + end


@njit(**INLINED)
def total(v):
    """The sum of sixteen numbers, by halves."""
    low = (v[0] + v[8]) + (v[4] + v[12]) + ((v[2] + v[10]) + (v[6] + v[14]))
    return low + ((v[1] + v[9]) + (v[5] + v[13]) + ((v[3] + v[11]) + (v[7] + v[15])))


# into the loops before LLVM sees it: compiled on its own, it may become a vector of two, and the loop none of many
@njit(**INLINED, inline="always")
def expm1(x):
    """exp(x) - 1 within 2e-7 of itself for x in [-80, 80], and the ends beyond.

    exp(x) = 2^n exp(r) with |r| <= log(2) / 2, where a polynomial of degree 6 fits. The function of the C library is
    called number by number; this one is a few products of vectors.
    """
    x = min(max(x, np.float32(-80.0)), np.float32(80.0))
    # so large a sum has n in its last bits
    shifted = np.float32(1.4426950408889634) * x + np.float32(12582912.0)
    n = shifted - np.float32(12582912.0)
    r = (np.float32(-0.693359375) * n + x) + np.float32(2.12194440e-4) * n
    p = (np.float32(1.3751407e-03) * r + np.float32(8.3689158e-03)) * r + np.float32(4.1669533e-02)
    p = ((p * r + np.float32(1.6666518e-01)) * r + np.float32(4.9999988e-01)) * (r * r) + r
    power = np.int32((np.float32(shifted).view(np.int32) << 23) + 0x3F800000).view(np.float32)
    return power * p + (power - np.float32(1.0))


@njit(**INLINED, inline="always")
def tanh(x):
    """Within 2e-7 of itself: what is 1 to float32 is 1, and a gradient through it 0."""
    e = expm1(np.float32(2.0) * x)
    return e / (e + np.float32(2.0))


@njit(**INLINED, inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x)) within 1.3e-7: gates near 1 decide how long a cell recalls."""
    return np.float32(1.0) / (np.float32(2.0) + expm1(-x))


@njit(**INLINED, inline="always")
def log(x):
    """The natural logarithm of a normal number above zero, within 2e-7 of itself or, near 1, of 1.

    Of what is no number, or infinite, it is none. x = 2^n m with m in [√½, √2), and log m = 2 artanh((m - 1) / (m + 1))
    has a series that ends early.
    """
    bits = np.float32(x).view(np.int32)
    n = (bits - 0x3F3504F3) >> 23
    m = np.int32(bits - (n << 23)).view(np.float32)
    r = (m - np.float32(1.0)) / (m + np.float32(1.0))
    q = r * r
    p = ((np.float32(2 / 9) * q + np.float32(2 / 7)) * q + np.float32(2 / 5)) * q + np.float32(2 / 3)
    return np.float32(n) * np.float32(0.6931471805599453) + (r * q * p + np.float32(2.0) * r) + (x - x)
