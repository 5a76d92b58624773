"""Products of small matrices, for loops that numba compiles: eight sums of sixteen numbers stay in registers."""

from __future__ import annotations

from typing import Any

from numba import njit

from nablafx.kernels.vectors import INLINED, LANES, load, scaled, store

# a call that LLVM leaves a call counts references to every array, which takes as long as a short loop
CALLED: dict[str, Any] = {**INLINED, "forceinline": True}


@njit(**CALLED)
def add_product(out, at, a, w, start, stop):
    """out[:, at + lanes] += a w over terms start to stop: a (T, K), w (K, LANES), T a multiple of eight."""
    for t in range(0, len(a), 8):
        b, c, d, e = load(out[t, at:]), load(out[t + 1, at:]), load(out[t + 2, at:]), load(out[t + 3, at:])
        p, q, r, s = load(out[t + 4, at:]), load(out[t + 5, at:]), load(out[t + 6, at:]), load(out[t + 7, at:])
        for k in range(start, stop):
            v = load(w[k])
            b, c = scaled(a[t, k], v, b), scaled(a[t + 1, k], v, c)
            d, e = scaled(a[t + 2, k], v, d), scaled(a[t + 3, k], v, e)
            p, q = scaled(a[t + 4, k], v, p), scaled(a[t + 5, k], v, q)
            r, s = scaled(a[t + 6, k], v, r), scaled(a[t + 7, k], v, s)
        store(out[t, at:], b)
        store(out[t + 1, at:], c)
        store(out[t + 2, at:], d)
        store(out[t + 3, at:], e)
        store(out[t + 4, at:], p)
        store(out[t + 5, at:], q)
        store(out[t + 6, at:], r)
        store(out[t + 7, at:], s)


@njit(**CALLED)
def add_outer(sums, a, d):
    """sums (K, V, LANES) += Σ_t a[t] d[t]: a (T, K), d (T, V, LANES), K a multiple of four and V of two."""
    for v in range(0, sums.shape[1], 2):
        for k in range(0, len(sums), 4):
            b, c, e, f = load(sums[k, v]), load(sums[k + 1, v]), load(sums[k + 2, v]), load(sums[k + 3, v])
            p, q = load(sums[k, v + 1]), load(sums[k + 1, v + 1])
            r, s = load(sums[k + 2, v + 1]), load(sums[k + 3, v + 1])
            for t in range(len(d)):
                w, x, y, z = a[t, k], a[t, k + 1], a[t, k + 2], a[t, k + 3]
                u = load(d[t, v])
                b, c, e, f = scaled(w, u, b), scaled(x, u, c), scaled(y, u, e), scaled(z, u, f)
                u = load(d[t, v + 1])
                p, q, r, s = scaled(w, u, p), scaled(x, u, q), scaled(y, u, r), scaled(z, u, s)
            store(sums[k, v], b)
            store(sums[k + 1, v], c)
            store(sums[k + 2, v], e)
            store(sums[k + 3, v], f)
            store(sums[k, v + 1], p)
            store(sums[k + 1, v + 1], q)
            store(sums[k + 2, v + 1], r)
            store(sums[k + 3, v + 1], s)


def groups_of(count: int) -> int:
    """Groups of LANES that so many numbers fill."""
    return -(-count // LANES)
