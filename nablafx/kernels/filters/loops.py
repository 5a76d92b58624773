"""The loops of the kernels, compiled by numba; compiled code is kept between processes.

All K sections run over a chunk of audio that stays in the cache, eight rows at a time: a recursive filter waits for its
own last output at every sample, and independent rows fill that wait. The eight travel as a register. The backward pass
runs a chunk again from its checkpoint, and then the adjoint filter from its end.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.registers import LANES64 as LANES
from nablafx.kernels.registers import load, spread, store, weighted
from nablafx.kernels.vectors import LOOP

_COEFFICIENTS = 9


@njit(**LOOP)
def _enter(now, state, group):
    """State (R, K, 2) of a group's rows -> now (K 2 LANES); the last row stands in where there are no eight left."""
    for lane in range(LANES):
        row = min(group * LANES + lane, len(state) - 1)
        for k in range(state.shape[1]):
            now[2 * k * LANES + lane], now[(2 * k + 1) * LANES + lane] = state[row, k, 0], state[row, k, 1]


@njit(**LOOP)
def _leave(state, now, group):
    """The state of a group's rows from now (K 2 LANES)."""
    for lane in range(min(LANES, len(state) - group * LANES)):
        for k in range(state.shape[1]):
            state[group * LANES + lane, k, 0] = now[2 * k * LANES + lane]
            state[group * LANES + lane, k, 1] = now[(2 * k + 1) * LANES + lane]


@njit(**LOOP)
def _hear(audio, x, group, start, stop):
    """Samples start to stop of a group's rows of x (R, T) -> audio (samples LANES)."""
    for lane in range(LANES):
        row = min(group * LANES + lane, len(x) - 1)
        for t in range(start, stop):
            audio[(t - start) * LANES + lane] = x[row, t]


@njit(**LOOP)
def _tell(y, audio, group, start, stop):
    """The same of y (R, T) from audio."""
    for lane in range(min(LANES, len(y) - group * LANES)):
        for t in range(start, stop):
            y[group * LANES + lane, t] = audio[(t - start) * LANES + lane]


@njit(**LOOP)
def _choose(chosen, coefficients, n, k, group, channels, count):
    """Coefficients n of section k, (items, N, K, 9), of a group's rows -> chosen (9 LANES): one item for `channels`."""
    for lane in range(LANES):
        row = min(group * LANES + lane, count - 1)
        item = row // channels if len(coefficients) > 1 else 0
        for m in range(_COEFFICIENTS):
            chosen[m * LANES + lane] = coefficients[item, n, k, m]


@njit(**LOOP)
def forward(x, coefficients, state, checkpoints, y, block, offset, channels, size, first, last):
    """Groups first to last of eight rows; state (R, K, 2) is overwritten."""
    count, length = x.shape
    sections = coefficients.shape[2]
    wide = size * LANES
    audio, states = np.empty((sections + 1) * wide), np.empty(2 * sections * wide)
    now, chosen = np.empty(2 * sections * LANES), np.empty(_COEFFICIENTS * LANES)
    for group in range(first, last):
        _enter(now, state, group)
        for chunk in range((length + size - 1) // size):
            start, stop = chunk * size, min((chunk + 1) * size, length)
            _hear(audio, x, group, start, stop)
            _leave(checkpoints[:, chunk], now, group)
            _run_all(audio, states, now, chosen, coefficients, group, channels, count, start, stop, block, offset)
            _tell(y, audio[sections * wide :], group, start, stop)
        _leave(state, now, group)


@njit(**LOOP)
def backward(grad_y, x, coefficients, checkpoints, grad_x, grads, adjoint, block, offset, channels, size, first, last):
    """As `forward`; adjoint (R, K, 2), the gradient of the last state, becomes that of the first one."""
    count, length = x.shape
    sections = coefficients.shape[2]
    wide = size * LANES
    audio, states, grad = np.empty((sections + 1) * wide), np.empty(2 * sections * wide), np.empty(wide)
    now, back = np.empty(2 * sections * LANES), np.empty(2 * sections * LANES)
    chosen, sums = np.empty(_COEFFICIENTS * LANES), np.empty(_COEFFICIENTS * LANES)
    for group in range(first, last):
        _enter(back, adjoint, group)
        for chunk in range((length + size - 1) // size - 1, -1, -1):
            start, stop = chunk * size, min((chunk + 1) * size, length)
            _enter(now, checkpoints[:, chunk], group)
            _hear(audio, x, group, start, stop)
            _hear(grad, grad_y, group, start, stop)
            _run_all(audio, states, now, chosen, coefficients, group, channels, count, start, stop, block, offset)
            for k in range(sections - 1, -1, -1):
                t = stop
                while t > start:
                    n = (t - 1 + offset) // block
                    since = max(n * block - offset, start)
                    _choose(chosen, coefficients, n, k, group, channels, count)
                    _run_back(grad, back, sums, audio, states, chosen, k, wide, since - start, t - start)
                    for lane in range(min(LANES, count - group * LANES)):
                        for m in range(_COEFFICIENTS):
                            grads[group * LANES + lane, n, k, m] += sums[m * LANES + lane]
                    t = since
            _tell(grad_x, grad, group, start, stop)
        _leave(adjoint, back, group)


@njit(**LOOP)
def _run_all(audio, states, now, chosen, coefficients, group, channels, count, start, stop, block, offset):
    """All sections over samples start to stop, a chunk."""
    sections = coefficients.shape[2]
    wide = len(audio) // (sections + 1)
    for k in range(sections):
        t = start
        while t < stop:
            n = (t + offset) // block
            until = min((n + 1) * block - offset, stop)
            _choose(chosen, coefficients, n, k, group, channels, count)
            _run(audio, states, now, chosen, k, wide, t - start, until - start)
            t = until


@njit(**LOOP)
def _run(audio, states, now, chosen, k, wide, first, last):
    """Section k over samples first to last of a chunk: the audio behind it, and its state before every sample."""
    s1, s2 = load(now, 2 * k * LANES), load(now, (2 * k + 1) * LANES)
    a11, a12, a21, a22 = load(chosen, 0), load(chosen, LANES), load(chosen, 2 * LANES), load(chosen, 3 * LANES)
    b1, b2, c1, c2 = load(chosen, 4 * LANES), load(chosen, 5 * LANES), load(chosen, 6 * LANES), load(chosen, 7 * LANES)
    d = load(chosen, 8 * LANES)
    u, y, h1, h2 = k * wide, (k + 1) * wide, 2 * k * wide, (2 * k + 1) * wide
    for at in range(first * LANES, last * LANES, LANES):
        v = load(audio, u + at)
        store(states, h1 + at, s1)
        store(states, h2 + at, s2)
        store(audio, y + at, weighted(d, v, weighted(c1, s1, c2 * s2)))
        s1, s2 = weighted(a11, s1, weighted(a12, s2, b1 * v)), weighted(a22, s2, weighted(a21, s1, b2 * v))
    store(now, 2 * k * LANES, s1)
    store(now, (2 * k + 1) * LANES, s2)


@njit(**LOOP)
def _run_back(grad, back, sums, audio, states, chosen, k, wide, first, last):
    """The adjoint of `_run`: grad becomes the gradient of what comes in, sums what the coefficients get."""
    p, q = load(back, 2 * k * LANES), load(back, (2 * k + 1) * LANES)
    a11, a12, a21, a22 = load(chosen, 0), load(chosen, LANES), load(chosen, 2 * LANES), load(chosen, 3 * LANES)
    b1, b2, c1, c2 = load(chosen, 4 * LANES), load(chosen, 5 * LANES), load(chosen, 6 * LANES), load(chosen, 7 * LANES)
    d = load(chosen, 8 * LANES)
    u, h1, h2 = k * wide, 2 * k * wide, (2 * k + 1) * wide
    g11 = g12 = g21 = g22 = gb1 = gb2 = gc1 = gc2 = gd = spread(0.0)
    for at in range((last - 1) * LANES, (first - 1) * LANES, -LANES):
        g, v, s1, s2 = load(grad, at), load(audio, u + at), load(states, h1 + at), load(states, h2 + at)
        g11, g12, g21, g22 = weighted(p, s1, g11), weighted(p, s2, g12), weighted(q, s1, g21), weighted(q, s2, g22)
        gb1, gb2, gd = weighted(p, v, gb1), weighted(q, v, gb2), weighted(g, v, gd)
        gc1, gc2 = weighted(g, s1, gc1), weighted(g, s2, gc2)
        store(grad, at, weighted(d, g, weighted(b1, p, b2 * q)))
        p, q = weighted(a11, p, weighted(a21, q, c1 * g)), weighted(a22, q, weighted(a12, p, c2 * g))
    store(back, 2 * k * LANES, p)
    store(back, (2 * k + 1) * LANES, q)
    store(sums, 0, g11)
    store(sums, LANES, g12)
    store(sums, 2 * LANES, g21)
    store(sums, 3 * LANES, g22)
    store(sums, 4 * LANES, gb1)
    store(sums, 5 * LANES, gb2)
    store(sums, 6 * LANES, gc1)
    store(sums, 7 * LANES, gc2)
    store(sums, 8 * LANES, gd)


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
