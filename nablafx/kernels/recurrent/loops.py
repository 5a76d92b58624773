"""The loops of an LSTM layer, compiled by numba.

Units lie in groups of LANES, the last of which is filled up with zeros, and what each has for its four gates beside one
another: (groups, 4, LANES). Four sums, one for each gate, stay in registers while the inputs pass by, and two items
share the weights that are loaded.

Of every step c is kept, and h is the output. On the way back they give a chunk of gates as a product with the weights,
which is quicker than to write the gates to memory and read them again. The gates' gradients take their place, and stay
in the cache until the weights' gradients, sums over time of products with what was heard, have taken them up.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.products import CALLED, add_outer, add_product
from nablafx.kernels.vectors import LANES, LOOP, NOTHING, load, scaled, sigmoid, store, tanh

CHUNK = 64
ONE = np.float32(1.0)


@njit(**LOOP)
def pack(w, packed):
    """Rows of gates and units, w (4 H, K), as packed (U, K, 4, LANES)."""
    units = len(w) // 4
    for k in range(packed.shape[1]):
        for q in range(4):
            for u in range(units):
                packed[u // LANES, k, q, u % LANES] = w[q * units + u, k]


@njit(**LOOP)
def pack_heard(w, packed, at):
    """The same as inputs `at` to `at` + K of packed (U 4, K, LANES)."""
    units = len(w) // 4
    for q in range(4):
        for u in range(units):
            for k in range(w.shape[1]):
                packed[u // LANES * 4 + q, at + k, u % LANES] = w[q * units + u, k]


@njit(**LOOP)
def pack_back(w, packed):
    """The recurrent weights w (4 H, H) as packed (U, U LANES, 4, LANES): of unit k by its gates q to the others."""
    units = w.shape[1]
    for q in range(4):
        for k in range(units):
            for u in range(units):
                packed[u // LANES, k, q, u % LANES] = w[q * units + k, u]


@njit(**LOOP)
def pack_input(w, packed):
    """The weights w (4 H, I) as packed (V, U 4 LANES, LANES): of units by their gates to the inputs."""
    units = len(w) // 4
    for i in range(w.shape[1]):
        for q in range(4):
            for u in range(units):
                at = (u // LANES * 4 + q) * LANES + u % LANES
                packed[i // LANES, at, i % LANES] = w[q * units + u, i]


@njit(**CALLED)
def _pass(a, x, w):
    """Four sums a, each with Σ_k x[k] w[k, gate] added: x (K,), w (K, 4, LANES)."""
    i, f, g, o = a
    for k in range(len(w)):
        s, rows = x[k], w[k]
        i, f = scaled(s, load(rows[0]), i), scaled(s, load(rows[1]), f)
        g, o = scaled(s, load(rows[2]), g), scaled(s, load(rows[3]), o)
    return i, f, g, o


@njit(**CALLED)
def _pass_two(a, b, x, y, w):
    """As `_pass`, for the sums a and b and the inputs x and y of two items."""
    i, f, g, o = a
    j, e, h, p = b
    for k in range(len(w)):
        s, r, rows = x[k], y[k], w[k]
        u, v = load(rows[0]), load(rows[1])
        i, f, j, e = scaled(s, u, i), scaled(s, v, f), scaled(r, u, j), scaled(r, v, e)
        u, v = load(rows[2]), load(rows[3])
        g, o, h, p = scaled(s, u, g), scaled(s, v, o), scaled(r, u, h), scaled(r, v, p)
    return (i, f, g, o), (j, e, h, p)


@njit(**CALLED)
def _finish(a, sums, cell, hidden, kept):
    """Four sums a become gates, c <- f c + i g and h = o tanh(c): all (LANES,), but for the scratch `sums`."""
    store(sums, a[0])
    store(sums[LANES:], a[1])
    store(sums[2 * LANES :], a[2])
    store(sums[3 * LANES :], a[3])
    for u in range(LANES):
        i, f = sigmoid(sums[u]), sigmoid(sums[LANES + u])
        g, o = tanh(sums[2 * LANES + u]), sigmoid(sums[3 * LANES + u])
        c = f * cell[u] + i * g
        cell[u] = kept[u] = c
        hidden[u] = o * tanh(c)


@njit(**LOOP)
def forward(x, w_in, w_rec, bias, h, c, y, kept, first, last):
    """Items first to last; h and c (B, H) are overwritten.

    x (B, T, I); w_in (U, I, 4, LANES), w_rec (U, H, 4, LANES), bias (U, 1, 4, LANES); y (B, T, H); kept (B, T, U,
    LANES) gets c of every step, or, with 1 for T, of the last one.
    """
    length, units = x.shape[1], h.shape[1]
    groups, items = len(w_rec), last - first
    flat = np.zeros((3, items, groups * LANES), np.float32)
    flat[0, :, :units] = h[first:last]
    flat[2, :, :units] = c[first:last]
    states, sums = flat.reshape(3, items, groups, LANES), np.empty((2, 4 * LANES), np.float32)
    cell = states[2]
    for t in range(length):
        row = min(t, kept.shape[1] - 1)
        before, after = flat[t % 2], states[1 - t % 2]
        n = 0
        while n < items:
            two = n + 1 < items
            m = first + n
            for g in range(groups):
                start = bias[g, 0]
                a = load(start[0]), load(start[1]), load(start[2]), load(start[3])
                if two:
                    a, b = _pass_two(a, a, x[m, t], x[m + 1, t], w_in[g])
                    a, b = _pass_two(a, b, before[n], before[n + 1], w_rec[g])
                    _finish(b, sums[1], cell[n + 1, g], after[n + 1, g], kept[m + 1, row, g])
                else:
                    a = _pass(_pass(a, x[m, t], w_in[g]), before[n], w_rec[g])
                _finish(a, sums[0], cell[n, g], after[n, g], kept[m, row, g])
            n += 2 if two else 1
        y[first:last, t] = flat[1 - t % 2, :, :units]
    h[first:last] = flat[length % 2, :, :units]
    c[first:last] = flat[2, :, :units]


@njit(**CALLED)
def _return(d, w):
    """Σ_q Σ_k d[k, q] w[k, q] over gates q and units k: d (U, 4 LANES), w (U LANES, 4, LANES)."""
    i = f = g = o = NOTHING
    for j in range(len(d)):
        for k in range(LANES):
            row, rows = d[j], w[j * LANES + k]
            i, f = scaled(row[k], load(rows[0]), i), scaled(row[LANES + k], load(rows[1]), f)
            g = scaled(row[2 * LANES + k], load(rows[2]), g)
            o = scaled(row[3 * LANES + k], load(rows[3]), o)
    return scaled(ONE, scaled(ONE, i, f), scaled(ONE, g, o))


@njit(**CALLED)
def _return_two(c, d, w):
    """As `_return`, of two items."""
    i = f = g = o = j = e = h = p = NOTHING
    for n in range(len(d)):
        for k in range(LANES):
            row, other, rows = c[n], d[n], w[n * LANES + k]
            u, v = load(rows[0]), load(rows[1])
            i, f = scaled(row[k], u, i), scaled(row[LANES + k], v, f)
            j, e = scaled(other[k], u, j), scaled(other[LANES + k], v, e)
            u, v = load(rows[2]), load(rows[3])
            g, o = scaled(row[2 * LANES + k], u, g), scaled(row[3 * LANES + k], v, o)
            h, p = scaled(other[2 * LANES + k], u, h), scaled(other[3 * LANES + k], v, p)
    return scaled(ONE, scaled(ONE, i, f), scaled(ONE, g, o)), scaled(ONE, scaled(ONE, j, e), scaled(ONE, h, p))


@njit(**CALLED)
def _differentiate(c, before, grad_y, by, d):
    """d (4 LANES,), the sums of the gates, become gradients by them; by (2 LANES,) has those by h and c."""
    for u in range(LANES):
        i, f = sigmoid(d[u]), sigmoid(d[LANES + u])
        g, o = tanh(d[2 * LANES + u]), sigmoid(d[3 * LANES + u])
        bent, by_h = tanh(c[u]), by[u] + grad_y[u]
        by_c = by[LANES + u] + by_h * o * (ONE - bent * bent)
        d[u] = by_c * g * i * (ONE - i)
        d[LANES + u] = by_c * before[u] * f * (ONE - f)
        d[2 * LANES + u] = by_c * i * (ONE - g * g)
        d[3 * LANES + u] = by_h * bent * o * (ONE - o)
        by[LANES + u] = by_c * f


@njit(**CALLED)
def _hear(x, h, y, begin, count, w, heard, sums):
    """heard (CHUNK, K): x and the h before of each step, and a 1; sums (CHUNK, U 4 LANES) of the gates there."""
    inputs, units = x.shape[1], len(h)
    for s in range(count):
        t = begin + s
        for k in range(inputs):
            heard[s, k] = x[t, k]
        before = y[t - 1] if t else h
        for k in range(units):
            heard[s, inputs + k] = before[k]
        heard[s, inputs + units] = 1
    sums[:] = 0
    for v in range(len(w)):
        add_product(sums, v * LANES, heard, w[v], 0, w.shape[1])


@njit(**CALLED)
def _go_back(grad_y, kept, start, by, d, w, first, begin, count):
    """The recurrence over `count` steps from `begin` on, last to first: d (items, CHUNK, U, 4 LANES)."""
    items, groups = len(by), len(w)
    for s in range(count - 1, -1, -1):
        t = begin + s
        for n in range(items):
            m = first + n
            for g in range(groups):
                before = kept[m, t - 1, g] if t else start[n, g]
                _differentiate(kept[m, t, g], before, grad_y[m, t, g * LANES :], by[n, g], d[n, s, g])
        for n in range(0, items - 1, 2):
            for g in range(groups):
                a, b = _return_two(d[n, s], d[n + 1, s], w[g])
                store(by[n, g], a)
                store(by[n + 1, g], b)
        if items % 2:
            for g in range(groups):
                store(by[items - 1, g], _return(d[items - 1, s], w[g]))


@njit(**LOOP)
def backward(grad_y, x, w_heard, w_in, w_back, h, c, y, kept, grad_x, grad_h, grad_c, sums, first, last):
    """Items first to last; grad_h and grad_c (B, H), of the last state, become those of the first one.

    grad_y (B, T, U LANES); w_heard, w_in and w_back as packed above; grad_x (B, T, I), or (B, 0, I) where nobody wants
    it; sums (B, K, U 4, LANES) gets the gradients of the weights of x, of h and of the bias, for K = I + H + 1 and
    what is missing to a multiple of four.
    """
    length, inputs, units, groups = x.shape[1], x.shape[2], h.shape[1], len(w_back)
    items, width = last - first, groups * 4 * LANES
    by = np.zeros((items, groups, 2 * LANES), np.float32)
    start = np.zeros((items, groups, LANES), np.float32)
    for u in range(units):
        g, k = u // LANES, u % LANES
        by[:, g, k], by[:, g, LANES + k] = grad_h[first:last, u], grad_c[first:last, u]
        start[:, g, k] = c[first:last, u]
    d = np.empty((items, CHUNK, groups, 4 * LANES), np.float32)
    heard = np.zeros((items, CHUNK, sums.shape[1]), np.float32)
    spread = np.empty((CHUNK, LANES), np.float32)
    for begin in range((length - 1) // CHUNK * CHUNK, -1, -CHUNK):
        count = min(CHUNK, length - begin)
        for n in range(items):
            m = first + n
            _hear(x[m], h[m], y[m], begin, count, w_heard, heard[n], d[n].reshape(CHUNK, width))
        _go_back(grad_y, kept, start, by, d, w_back, first, begin, count)
        for n in range(items):
            m = first + n
            add_outer(sums[m], heard[n], d[n].reshape(CHUNK, groups * 4, LANES)[:count])
            for g in range(len(w_in) if grad_x.shape[1] else 0):
                spread[:] = 0
                add_product(spread, 0, d[n].reshape(CHUNK, width), w_in[g], 0, width)
                at = g * LANES
                wide = min(LANES, inputs - at)
                grad_x[m, begin : begin + count, at : at + wide] = spread[:count, :wide]
    for u in range(units):
        g, k = u // LANES, u % LANES
        grad_h[first:last, u], grad_c[first:last, u] = by[:, g, k], by[:, g, LANES + k]
