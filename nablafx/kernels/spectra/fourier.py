"""Fourier transforms of sixteen real signals side by side, compiled by numba, and their adjoints.

A transform of N real samples is one of M = N / 2 complex ones, even samples real and odd ones imaginary, whose spectra
`part` takes apart. It works in place: frequencies come out in an order of their own, in which the way back takes them.

z (2, M, LANES): real and imaginary parts. X: bins 1 to M - 1 of real signals, in the places of these frequencies, and
in row 0 the first bin and the last one, which are real. M is a power of two, 8 or more.

As with :mod:`nablafx.kernels.vectors`, who changes this file empties the caches of what is compiled with it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.vectors import INLINED, LOOP, NOTHING, load, scaled, store


@njit(**INLINED)
def _plus(u, v):
    low = u[0] + v[0], u[1] + v[1], u[2] + v[2], u[3] + v[3], u[4] + v[4], u[5] + v[5], u[6] + v[6], u[7] + v[7]
    top = u[8] + v[8], u[9] + v[9], u[10] + v[10], u[11] + v[11]
    return low + top + (u[12] + v[12], u[13] + v[13], u[14] + v[14], u[15] + v[15])


@njit(**INLINED)
def _minus(u, v):
    low = u[0] - v[0], u[1] - v[1], u[2] - v[2], u[3] - v[3], u[4] - v[4], u[5] - v[5], u[6] - v[6], u[7] - v[7]
    top = u[8] - v[8], u[9] - v[9], u[10] - v[10], u[11] - v[11]
    return low + top + (u[12] - v[12], u[13] - v[13], u[14] - v[14], u[15] - v[15])


@njit(**INLINED)
def _turned(c, s, u, v):
    """(c + i s)(u + i v)."""
    return scaled(c, u, scaled(-s, v, NOTHING)), scaled(c, v, scaled(s, u, NOTHING))


@njit(**LOOP)
def _quarter(z, first, size, turns):
    """One step of the transform, on 4 size rows: their sums with powers of -i, turned; turns (size, 6)."""
    re, im = z[0], z[1]
    one = turns[0, 0]  # a product with a number that LLVM does not know: it makes no vectors of sums alone
    for p in range(size):
        i, j, k, n = first + p, first + size + p, first + 2 * size + p, first + 3 * size + p
        w = turns[p]
        ar, ai, cr, ci = load(re[i]), load(im[i]), load(re[k]), load(im[k])
        sr, si, dr, di = scaled(one, cr, ar), scaled(one, ci, ai), scaled(-one, cr, ar), scaled(-one, ci, ai)
        br, bi, er, ei = load(re[j]), load(im[j]), load(re[n]), load(im[n])
        tr, ti, gr, gi = scaled(one, er, br), scaled(one, ei, bi), scaled(-one, er, br), scaled(-one, ei, bi)
        br, bi = _turned(w[0], w[1], _plus(dr, gi), _minus(di, gr))
        cr, ci = _turned(w[2], w[3], _minus(sr, tr), _minus(si, ti))
        er, ei = _turned(w[4], w[5], _minus(dr, gi), _plus(di, gr))
        store(re[i], _plus(sr, tr))
        store(im[i], _plus(si, ti))
        store(re[j], br)
        store(im[j], bi)
        store(re[k], cr)
        store(im[k], ci)
        store(re[n], er)
        store(im[n], ei)


@njit(**LOOP)
def _quarter_back(z, first, size, turns):
    """The adjoint of `_quarter`."""
    re, im = z[0], z[1]
    for p in range(size):
        i, j, k, n = first + p, first + size + p, first + 2 * size + p, first + 3 * size + p
        w = turns[p]
        ar, ai = load(re[i]), load(im[i])
        cr, ci = _turned(w[2], -w[3], load(re[k]), load(im[k]))
        sr, si, dr, di = _plus(ar, cr), _plus(ai, ci), _minus(ar, cr), _minus(ai, ci)
        br, bi = _turned(w[0], -w[1], load(re[j]), load(im[j]))
        er, ei = _turned(w[4], -w[5], load(re[n]), load(im[n]))
        tr, ti, gr, gi = _plus(br, er), _plus(bi, ei), _minus(br, er), _minus(bi, ei)
        store(re[i], _plus(sr, tr))
        store(im[i], _plus(si, ti))
        store(re[j], _minus(dr, gi))
        store(im[j], _plus(di, gr))
        store(re[k], _minus(sr, tr))
        store(im[k], _minus(si, ti))
        store(re[n], _plus(dr, gi))
        store(im[n], _minus(di, gr))


@njit(**LOOP)
def _halve(z, turns, sign):
    """A step by two, on all rows: sums, and differences turned; sign -1: its adjoint. turns (M, 2): exp(-πi k / M)."""
    re, im, size = z[0], z[1], z.shape[1] // 2
    for p in range(size):
        c, s = turns[2 * p, 0], turns[2 * p, 1]
        ar, ai, br, bi = load(re[p]), load(im[p]), load(re[size + p]), load(im[size + p])
        if sign < 0:
            br, bi = _turned(c, -s, br, bi)
        store(re[p], _plus(ar, br))
        store(im[p], _plus(ai, bi))
        u, v = _minus(ar, br), _minus(ai, bi)
        if sign > 0:
            u, v = _turned(c, s, u, v)
        store(re[size + p], u)
        store(im[size + p], v)


@njit(**LOOP)
def transform(z, turns, quarters, by_two):
    """Σ_n z[n] exp(-2πi k n / M), frequencies in their own order; each half or quarter to its end while it is near."""
    rows = z.shape[1]
    if by_two:
        _halve(z, turns, 1)
    else:
        _quarter(z, 0, rows // 4, quarters[rows // 4 :])
    part = rows // 2 if by_two else rows // 4
    for start in range(0, rows, part):
        size = part // 4
        while size:
            for first in range(start, start + part, 4 * size):
                _quarter(z, first, size, quarters[size:])
            size //= 4


@njit(**LOOP)
def transform_back(z, turns, quarters, by_two):
    """The adjoint of `transform`."""
    rows = z.shape[1]
    part = rows // 2 if by_two else rows // 4
    for start in range(0, rows, part):
        size = 1
        while 4 * size <= part:
            for first in range(start, start + part, 4 * size):
                _quarter_back(z, first, size, quarters[size:])
            size *= 4
    if by_two:
        _halve(z, turns, -1)
    else:
        _quarter_back(z, 0, rows // 4, quarters[rows // 4 :])


@njit(**LOOP)
def part(z, pairs, angles, sign):
    """Take the spectra of even and odd samples apart: z of halved samples -> X; sign -1: the adjoint, X -> z.

    pairs: rows of bins k and M - k, in the order of the first, those of M / 2 in front; angles: exp(-πi k / M).
    """
    re, im = z[0], z[1]
    two = np.float32(2.0)
    u, v = load(re[0]), load(im[0])
    store(re[0], scaled(two, _plus(u, v), NOTHING))
    store(im[0], scaled(two, _minus(u, v), NOTHING))
    i = pairs[0, 0]
    store(re[i], scaled(two, load(re[i]), NOTHING))
    store(im[i], scaled(-two, load(im[i]), NOTHING))
    for n in range(1, len(pairs)):
        i, j = pairs[n]
        c, s = angles[n]
        ar, ai, br, bi = load(re[i]), load(im[i]), load(re[j]), load(im[j])
        er, ei = _plus(ar, br), _minus(ai, bi)
        if sign > 0:
            u, v = _turned(c, s, _plus(ai, bi), _minus(br, ar))
        else:
            v, u = _turned(c, -s, _minus(ar, br), _plus(ai, bi))
            u = _minus(NOTHING, u)
        store(re[i], _plus(er, u))
        store(im[i], _plus(ei, v))
        store(re[j], _minus(er, u))
        store(im[j], _minus(v, ei))
