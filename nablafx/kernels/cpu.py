"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.reference` for what they compute.

All K sections run over a chunk of audio that stays in the cache, four rows at a time; the backward pass runs the chunk
again from its checkpoint, and then the adjoint filter from its end. Compiled code is kept between processes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numba import njit
from torch import Tensor

from nablafx.kernels.lanes import LANES, added, gather, items_of, load, product, rows_of, store
from nablafx.kernels.reference import CHUNK
from nablafx.kernels.threads import share


def sections(x: Tensor, coefficients: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, length = x.shape
    zf = zi.detach().clone(memory_format=torch.contiguous_format)
    checkpoints = zi.new_empty(batch, channels, -(-length // CHUNK), *zi.shape[2:])
    y = torch.empty(x.shape, dtype=x.dtype)
    arrays = (_rows(x), _array(coefficients), _rows(zf), _rows(checkpoints), _rows(y))
    share(-(-batch * channels // LANES), partial(_forward, *arrays, block, offset, channels))
    return y, zf, checkpoints


def sections_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    coefficients: Tensor,
    checkpoints: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, _ = x.shape
    grad_x = torch.empty(x.shape, dtype=x.dtype)
    grad_zi = grad_zf.detach().clone(memory_format=torch.contiguous_format)
    grads = torch.zeros(batch * channels, *coefficients.shape[1:], dtype=torch.float64)
    given = (_rows(grad_y), _rows(x), _array(coefficients), _rows(checkpoints))
    arrays = (*given, _rows(grad_x), _array(grads), _rows(grad_zi))
    share(-(-batch * channels // LANES), partial(_backward, *arrays, block, offset, channels))
    shared = grads.view(coefficients.shape[0], -1, *coefficients.shape[1:]).sum(1)
    return grad_x, shared, grad_zi


def envelope(x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor]:
    y = torch.empty(x.shape, dtype=x.dtype)
    zf = zi.detach().clone(memory_format=torch.contiguous_format)
    arrays = (_rows(x), _array(attack), _array(release), _array(zf).reshape(-1), _rows(y))
    share(x.shape[0] * x.shape[1], partial(_follow, *arrays, block, offset, x.shape[1]))
    return y, zf


def envelope_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    attack: Tensor,
    release: Tensor,
    zi: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = x.shape[0] * x.shape[1]
    grad_x = torch.empty(x.shape, dtype=x.dtype)
    grad_zi = grad_zf.detach().clone(memory_format=torch.contiguous_format)
    grads = torch.zeros(2, rows, attack.shape[1], dtype=torch.float64)
    given = (_rows(grad_y), _rows(x), _array(attack), _array(release), _array(zi).reshape(-1))
    arrays = (*given, _rows(grad_x), _array(grads), _array(grad_zi).reshape(-1))
    share(rows, partial(_follow_backward, *arrays, block, offset, x.shape[1]))
    by_attack, by_release = (g.view(attack.shape[0], -1, attack.shape[1]).sum(1) for g in grads)
    return grad_x, by_attack, by_release, grad_zi


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _rows(tensor: Tensor) -> np.ndarray:
    """(B, C, ...) as (B C, ...)."""
    return _array(tensor).reshape(-1, *tensor.shape[2:])


@njit(nogil=True, cache=True)
def _forward(x, coefficients, state, checkpoints, y, block, offset, channels, first, last):
    """Groups first to last of four rows; state (R, K, 2) is overwritten."""
    count, length = x.shape
    sections = coefficients.shape[2]
    audio = np.empty((sections + 1, CHUNK, LANES))
    states = np.empty((sections, 2, CHUNK, LANES))
    now = np.empty((sections, 2, LANES))
    for group in range(first, last):
        rows = rows_of(group, count)
        items = items_of(rows, channels, coefficients.shape[0])
        live = min(LANES, count - group * LANES)
        _enter(now, state, rows)
        for chunk in range((length + CHUNK - 1) // CHUNK):
            start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, length)
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
def _backward(grad_y, x, coefficients, checkpoints, grad_x, grads, adjoint, block, offset, channels, first, last):
    """As `_forward`; adjoint (R, K, 2), the gradient of the last state, becomes that of the first one."""
    count, length = x.shape
    sections = coefficients.shape[2]
    audio = np.empty((sections + 1, CHUNK, LANES))
    states = np.empty((sections, 2, CHUNK, LANES))
    now = np.empty((sections, 2, LANES))
    back = np.empty((sections, 2, LANES))
    grad = np.empty((CHUNK, LANES))
    for group in range(first, last):
        rows = rows_of(group, count)
        items = items_of(rows, channels, coefficients.shape[0])
        live = min(LANES, count - group * LANES)
        _enter(back, adjoint, rows)
        for chunk in range((length + CHUNK - 1) // CHUNK - 1, -1, -1):
            start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, length)
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
        s1, s2 = load(now[k, 0]), load(now[k, 1])
        u, y, h1, h2 = audio[k], audio[k + 1], states[k, 0], states[k, 1]
        t = start
        while t < stop:
            n = (t + offset) // block
            until = min((n + 1) * block - offset, stop)
            a11, a12 = gather(coefficients, items, n, k, 0), gather(coefficients, items, n, k, 1)
            a21, a22 = gather(coefficients, items, n, k, 2), gather(coefficients, items, n, k, 3)
            b1, b2 = gather(coefficients, items, n, k, 4), gather(coefficients, items, n, k, 5)
            c1, c2 = gather(coefficients, items, n, k, 6), gather(coefficients, items, n, k, 7)
            d = gather(coefficients, items, n, k, 8)
            for i in range(t - start, until - start):
                v = load(u[i])
                store(h1[i], s1)
                store(h2[i], s2)
                store(y[i], added(d, v, added(c1, s1, product(c2, s2))))
                s1, s2 = (
                    added(a11, s1, added(a12, s2, product(b1, v))),
                    added(a21, s1, added(a22, s2, product(b2, v))),
                )
            t = until
        store(now[k, 0], s1)
        store(now[k, 1], s2)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _run_back(grad, back, audio, states, coefficients, grads, rows, items, live, start, stop, block, offset):
    """The adjoint of `_run`: grad becomes the gradient of audio[0], grads gets what the coefficients add."""
    none = (0.0, 0.0, 0.0, 0.0)
    for k in range(coefficients.shape[2] - 1, -1, -1):
        p, q = load(back[k, 0]), load(back[k, 1])
        u, h1, h2 = audio[k], states[k, 0], states[k, 1]
        t = stop
        while t > start:
            n = (t - 1 + offset) // block
            since = max(n * block - offset, start)
            a11, a12 = gather(coefficients, items, n, k, 0), gather(coefficients, items, n, k, 1)
            a21, a22 = gather(coefficients, items, n, k, 2), gather(coefficients, items, n, k, 3)
            b1, b2 = gather(coefficients, items, n, k, 4), gather(coefficients, items, n, k, 5)
            c1, c2 = gather(coefficients, items, n, k, 6), gather(coefficients, items, n, k, 7)
            d = gather(coefficients, items, n, k, 8)
            g11 = g12 = g21 = g22 = gb1 = gb2 = gc1 = gc2 = gd = none
            for i in range(t - start - 1, since - start - 1, -1):
                g, v, s1, s2 = load(grad[i]), load(u[i]), load(h1[i]), load(h2[i])
                g11, g12, g21, g22 = added(p, s1, g11), added(p, s2, g12), added(q, s1, g21), added(q, s2, g22)
                gb1, gb2, gd = added(p, v, gb1), added(q, v, gb2), added(g, v, gd)
                gc1, gc2 = added(g, s1, gc1), added(g, s2, gc2)
                store(grad[i], added(d, g, added(b1, p, product(b2, q))))
                p, q = added(a11, p, added(a21, q, product(c1, g))), added(a12, p, added(a22, q, product(c2, g)))
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
        store(back[k, 0], p)
        store(back[k, 1], q)


@njit(nogil=True, cache=True)
def _follow(x, attack, release, last_value, y, block, offset, channels, first, last):
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
def _follow_backward(grad_y, x, attack, release, zi, grad_x, grads, adjoint, block, offset, channels, first, last):
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
