"""The loops of the kernels, compiled by numba; compiled code is kept between processes.

All K sections run over a chunk of audio that stays in the cache, four rows at a time: a recursive filter waits for its
own last output at every sample, and independent rows fill that wait. The four travel as a tuple, which the compiler
makes one vector register of. The backward pass runs a chunk again from its checkpoint, and then the adjoint filter from
its end.

Everything that is compiled together lies in this file: numba looks at no other when it asks whether code that it kept
is still that of the source.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import njit

LANES = 4

# numba leaves off the pass of LLVM that makes vectors of tuples: without it the loops take twice the time
numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]


@njit(nogil=True)
def _product(a, b):
    """a b."""
    return a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]


@njit(nogil=True, fastmath={"contract"})
def _added(a, b, c):
    """a b + c."""
    return a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]


@njit(nogil=True)
def _load(row):
    """The four numbers of an array (4,)."""
    return row[0], row[1], row[2], row[3]


@njit(nogil=True)
def _store(row, values):
    """Write four numbers into an array (4,)."""
    row[0], row[1], row[2], row[3] = values


@njit(nogil=True)
def _gather(a, items, n, k, j):
    """a[item, n, k, j] for the items of the four rows; a (B, N, K, J)."""
    return a[items[0], n, k, j], a[items[1], n, k, j], a[items[2], n, k, j], a[items[3], n, k, j]


@njit(nogil=True)
def _rows_of(group, count):
    """The rows of a group: the last one stands in where there are no four left."""
    first, last = group * 4, count - 1
    return first, min(first + 1, last), min(first + 2, last), min(first + 3, last)


@njit(nogil=True)
def _items_of(rows, channels, items):
    """The items whose sections the rows are filtered with: one for all, or one for `channels` rows each."""
    if items == 1:
        return 0, 0, 0, 0
    return rows[0] // channels, rows[1] // channels, rows[2] // channels, rows[3] // channels


@njit(nogil=True, cache=True)
def forward(x, coefficients, state, checkpoints, y, block, offset, channels, size, first, last):
    """Groups first to last of four rows; state (R, K, 2) is overwritten."""
    count, length = x.shape
    sections = coefficients.shape[2]
    audio = np.empty((sections + 1, size, LANES))
    states = np.empty((sections, 2, size, LANES))
    now = np.empty((sections, 2, LANES))
    for group in range(first, last):
        rows = _rows_of(group, count)
        items = _items_of(rows, channels, coefficients.shape[0])
        live = min(LANES, count - group * LANES)
        _enter(now, state, rows)
        for chunk in range((length + size - 1) // size):
            start, stop = chunk * size, min((chunk + 1) * size, length)
            for lane in range(LANES):
                for t in range(start, stop):
                    audio[0, t - start, lane] = x[rows[lane], t]
            for lane in range(live):
                checkpoints[rows[lane], chunk] = now[:, :, lane]
            _run(audio, states, now, coefficients, items, start, stop, block, offset)
            for lane in range(live):
                for t in range(start, stop):
                    y[rows[lane], t] = audio[sections, t - start, lane]
        for lane in range(live):
            state[rows[lane]] = now[:, :, lane]


@njit(nogil=True, cache=True)
def backward(grad_y, x, coefficients, checkpoints, grad_x, grads, adjoint, block, offset, channels, size, first, last):
    """As `forward`; adjoint (R, K, 2), the gradient of the last state, becomes that of the first one."""
    count, length = x.shape
    sections = coefficients.shape[2]
    audio = np.empty((sections + 1, size, LANES))
    states = np.empty((sections, 2, size, LANES))
    now = np.empty((sections, 2, LANES))
    back = np.empty((sections, 2, LANES))
    grad = np.empty((size, LANES))
    for group in range(first, last):
        rows = _rows_of(group, count)
        items = _items_of(rows, channels, coefficients.shape[0])
        live = min(LANES, count - group * LANES)
        _enter(back, adjoint, rows)
        for chunk in range((length + size - 1) // size - 1, -1, -1):
            start, stop = chunk * size, min((chunk + 1) * size, length)
            _enter(now, checkpoints[:, chunk], rows)
            for lane in range(LANES):
                for t in range(start, stop):
                    audio[0, t - start, lane] = x[rows[lane], t]
                    grad[t - start, lane] = grad_y[rows[lane], t]
            _run(audio, states, now, coefficients, items, start, stop, block, offset)
            _run_back(grad, back, audio, states, coefficients, grads, rows, items, live, start, stop, block, offset)
            for lane in range(live):
                for t in range(start, stop):
                    grad_x[rows[lane], t] = grad[t - start, lane]
        for lane in range(live):
            adjoint[rows[lane]] = back[:, :, lane]


@njit(nogil=True, cache=True)
def _enter(now, state, rows):
    for lane in range(LANES):
        now[:, :, lane] = state[rows[lane]]


@njit(nogil=True, cache=True, fastmath={"contract"})
def _run(audio, states, now, coefficients, items, start, stop, block, offset):
    """All sections over one chunk: audio[k] -> audio[k + 1], and the state before every sample."""
    for k in range(coefficients.shape[2]):
        s1, s2 = _load(now[k, 0]), _load(now[k, 1])
        u, y, h1, h2 = audio[k], audio[k + 1], states[k, 0], states[k, 1]
        t = start
        while t < stop:
            n = (t + offset) // block
            until = min((n + 1) * block - offset, stop)
            a11, a12 = _gather(coefficients, items, n, k, 0), _gather(coefficients, items, n, k, 1)
            a21, a22 = _gather(coefficients, items, n, k, 2), _gather(coefficients, items, n, k, 3)
            b1, b2 = _gather(coefficients, items, n, k, 4), _gather(coefficients, items, n, k, 5)
            c1, c2 = _gather(coefficients, items, n, k, 6), _gather(coefficients, items, n, k, 7)
            d = _gather(coefficients, items, n, k, 8)
            for i in range(t - start, until - start):
                v = _load(u[i])
                _store(h1[i], s1)
                _store(h2[i], s2)
                _store(y[i], _added(d, v, _added(c1, s1, _product(c2, s2))))
                s1, s2 = (
                    _added(a11, s1, _added(a12, s2, _product(b1, v))),
                    _added(a21, s1, _added(a22, s2, _product(b2, v))),
                )
            t = until
        _store(now[k, 0], s1)
        _store(now[k, 1], s2)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _run_back(grad, back, audio, states, coefficients, grads, rows, items, live, start, stop, block, offset):
    """The adjoint of `_run`: grad becomes the gradient of audio[0], grads gets what the coefficients add."""
    none = (0.0, 0.0, 0.0, 0.0)
    for k in range(coefficients.shape[2] - 1, -1, -1):
        p, q = _load(back[k, 0]), _load(back[k, 1])
        u, h1, h2 = audio[k], states[k, 0], states[k, 1]
        t = stop
        while t > start:
            n = (t - 1 + offset) // block
            since = max(n * block - offset, start)
            a11, a12 = _gather(coefficients, items, n, k, 0), _gather(coefficients, items, n, k, 1)
            a21, a22 = _gather(coefficients, items, n, k, 2), _gather(coefficients, items, n, k, 3)
            b1, b2 = _gather(coefficients, items, n, k, 4), _gather(coefficients, items, n, k, 5)
            c1, c2 = _gather(coefficients, items, n, k, 6), _gather(coefficients, items, n, k, 7)
            d = _gather(coefficients, items, n, k, 8)
            g11 = g12 = g21 = g22 = gb1 = gb2 = gc1 = gc2 = gd = none
            for i in range(t - start - 1, since - start - 1, -1):
                g, v, s1, s2 = _load(grad[i]), _load(u[i]), _load(h1[i]), _load(h2[i])
                g11, g12, g21, g22 = _added(p, s1, g11), _added(p, s2, g12), _added(q, s1, g21), _added(q, s2, g22)
                gb1, gb2, gd = _added(p, v, gb1), _added(q, v, gb2), _added(g, v, gd)
                gc1, gc2 = _added(g, s1, gc1), _added(g, s2, gc2)
                _store(grad[i], _added(d, g, _added(b1, p, _product(b2, q))))
                p, q = _added(a11, p, _added(a21, q, _product(c1, g))), _added(a12, p, _added(a22, q, _product(c2, g)))
            for lane in range(live):
                sums = grads[rows[lane], n, k]
                sums[0] += g11[lane]
                sums[1] += g12[lane]
                sums[2] += g21[lane]
                sums[3] += g22[lane]
                sums[4] += gb1[lane]
                sums[5] += gb2[lane]
                sums[6] += gc1[lane]
                sums[7] += gc2[lane]
                sums[8] += gd[lane]
            t = since
        _store(back[k, 0], p)
        _store(back[k, 1], q)


@njit(nogil=True, cache=True)
def follow(x, attack, release, last_value, y, block, offset, channels, first, last):
    for row in range(first, last):
        item = row // channels if len(attack) > 1 else 0
        e = last_value[row]
        for t in range(x.shape[1]):
            n = (t + offset) // block
            u = x[row, t]
            e = u + (attack[item, n] if u > e else release[item, n]) * (e - u)
            y[row, t] = e
        last_value[row] = e


@njit(nogil=True, cache=True)
def follow_backward(grad_y, x, attack, release, zi, grad_x, grads, adjoint, block, offset, channels, first, last):
    """adjoint (R), the gradient of the last value, becomes that of zi; grads (2, R, N) gets attack's and release's."""
    length = x.shape[1]
    before = np.empty(length)
    for row in range(first, last):
        item = row // channels if len(attack) > 1 else 0
        e = zi[row]
        for t in range(length):
            before[t] = e
            n = (t + offset) // block
            u = x[row, t]
            e = u + (attack[item, n] if u > e else release[item, n]) * (e - u)
        g = adjoint[row]
        for t in range(length - 1, -1, -1):
            n = (t + offset) // block
            u, e = x[row, t], before[t]
            g += grad_y[row, t]
            rises = u > e
            pole = attack[item, n] if rises else release[item, n]
            grads[0 if rises else 1, row, n] += g * (e - u)
            grad_x[row, t] = g * (1 - pole)
            g *= pole
        adjoint[row] = g
