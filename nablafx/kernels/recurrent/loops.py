"""The loops of an LSTM layer, compiled by numba.

Units lie in groups of LANES, the last of which is filled up with zeros, and what each has for its four gates beside one
another: (groups, 4, LANES). Four sums, one for each gate, stay in registers while the inputs pass by, and two items
share the weights that are loaded.

Back in time, the gradients by the gates of a chunk stay in the cache until the weights' gradients, sums over time of
products with what was heard, have taken them up.
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
def _keep(rows, a):
    """Four sums into an array (5 LANES,)."""
    store(rows, a[0])
    store(rows[LANES:], a[1])
    store(rows[2 * LANES :], a[2])
    store(rows[3 * LANES :], a[3])


@njit(**CALLED)
def _finish(kept, cell, hidden):
    """Sums become gates, c <- f c + i g and h = o tanh(c); kept (5 LANES,) is left with i, f, g, o and c."""
    for u in range(LANES):
        i, f = sigmoid(kept[u]), sigmoid(kept[LANES + u])
        g, o = tanh(kept[2 * LANES + u]), sigmoid(kept[3 * LANES + u])
        c = f * cell[u] + i * g
        kept[u], kept[LANES + u], kept[2 * LANES + u], kept[3 * LANES + u], kept[4 * LANES + u] = i, f, g, o, c
        cell[u] = c
        hidden[u] = o * tanh(c)


@njit(**LOOP)
def forward(x, w_in, w_rec, bias, h, c, y, kept, first, last):
    """Items first to last; h and c (B, H) are overwritten.

    x (B, T, I); w_in (U, I, 4, LANES), w_rec (U, H, 4, LANES), bias (U, 1, 4, LANES); y (B, T, H); kept (B, T, U, 5
    LANES) gets the gates and c of every step, or, with 1 for T, of the last one.
    """
    length, units = x.shape[1], h.shape[1]
    groups, items = len(w_rec), last - first
    flat = np.zeros((3, items, groups * LANES), np.float32)
    flat[0, :, :units] = h[first:last]
    flat[2, :, :units] = c[first:last]
    states = flat.reshape(3, items, groups, LANES)
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
                    _keep(kept[m + 1, row, g], b)
                    _keep(kept[m, row, g], a)
                    _finish(kept[m + 1, row, g], cell[n + 1, g], after[n + 1, g])
                else:
                    _keep(kept[m, row, g], _pass(_pass(a, x[m, t], w_in[g]), before[n], w_rec[g]))
                _finish(kept[m, row, g], cell[n, g], after[n, g])
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
def _differentiate(kept, before, grad_y, by, d):
    """d (4 LANES,): gradients by the sums of the gates. by (2 LANES,), those by h and c; c becomes `before`."""
    for u in range(LANES):
        i, f, g, o = kept[u], kept[LANES + u], kept[2 * LANES + u], kept[3 * LANES + u]
        bent, by_h = tanh(kept[4 * LANES + u]), by[u] + grad_y[u]
        by_c = by[LANES + u] + by_h * o * (ONE - bent * bent)
        d[u] = by_c * g * i * (ONE - i)
        d[LANES + u] = by_c * before[u] * f * (ONE - f)
        d[2 * LANES + u] = by_c * i * (ONE - g * g)
        d[3 * LANES + u] = by_h * bent * o * (ONE - o)
        by[LANES + u] = by_c * f


@njit(**CALLED)
def _go_back(grad_y, kept, start, by, d, w, first, begin, count):
    """The recurrence over `count` steps from `begin` on, last to first: d (items, CHUNK, U, 4 LANES)."""
    items, groups = len(by), len(w)
    for s in range(count - 1, -1, -1):
        t = begin + s
        for n in range(items):
            m = first + n
            for g in range(groups):
                before = kept[m, t - 1, g, 4 * LANES :] if t else start[n, g]
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
def backward(grad_y, x, w_in, w_back, h, c, y, kept, grad_x, grad_h, grad_c, sums, first, last):
    """Items first to last; grad_h and grad_c (B, H), of the last state, become those of the first one.

    grad_y (B, T, U LANES); w_in and w_back as `pack_input` and `pack_back` have them; grad_x (B, T, I), or (B, 0, I)
    where nobody wants it; sums (B, K, U 4, LANES) gets the gradients of the weights of x, of h and of the bias, for
    K = I + H + 1 and what is missing to a multiple of four.
    """
    length, inputs, units, groups = x.shape[1], x.shape[2], h.shape[1], len(w_back)
    items = last - first
    by = np.zeros((items, groups, 2 * LANES), np.float32)
    start = np.zeros((items, groups, LANES), np.float32)
    for u in range(units):
        g, k = u // LANES, u % LANES
        by[:, g, k], by[:, g, LANES + k] = grad_h[first:last, u], grad_c[first:last, u]
        start[:, g, k] = c[first:last, u]
    d = np.zeros((items, CHUNK, groups, 4 * LANES), np.float32)
    heard = np.zeros((CHUNK, sums.shape[1]), np.float32)
    heard[:, inputs + units] = 1
    spread = np.empty((CHUNK, LANES), np.float32)
    for begin in range((length - 1) // CHUNK * CHUNK, -1, -CHUNK):
        count = min(CHUNK, length - begin)
        _go_back(grad_y, kept, start, by, d, w_back, first, begin, count)
        for n in range(items):
            m = first + n
            for s in range(count):
                heard[s, :inputs] = x[m, begin + s]
                heard[s, inputs : inputs + units] = y[m, begin + s - 1] if begin + s else h[m]
            add_outer(sums[m], heard, d[n].reshape(CHUNK, groups * 4, LANES)[:count])
            if grad_x.shape[1]:
                for g in range(len(w_in)):
                    spread[:] = 0
                    add_product(spread, 0, d[n].reshape(CHUNK, groups * 4 * LANES), w_in[g], 0, groups * 4 * LANES)
                    at = g * LANES
                    wide = min(LANES, inputs - at)
                    grad_x[m, begin : begin + count, at : at + wide] = spread[:count, :wide]
    for u in range(units):
        g, k = u // LANES, u % LANES
        grad_h[first:last, u], grad_c[first:last, u] = by[:, g, k], by[:, g, LANES + k]
