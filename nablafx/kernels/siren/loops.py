"""The loops of networks of sines with one input and one output, compiled by numba: a tile of numbers at a time.

A job is a stretch of the numbers, however many threads share the jobs: sums over them are made by stretches, and so do
not depend on the threads. What the layers make lies in scratch, rows of a tile each, a part for each layer; the last
row of a part is free, for a product takes an even number of columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.conv.rows import add_up, move
from nablafx.kernels.conv.steps import read
from nablafx.kernels.conv.tiles import ROWS, TILE, add_lanes, correlate, even, point_at_rows, product, whole
from nablafx.kernels.registers import LANES, load, spread, store
from nablafx.kernels.vectors import INLINED, LOOP

STRETCH = 10 * TILE


@njit(**INLINED, inline="always")
def _turns(x):
    """x as n π + r with |r| <= π / 2: r, and (-1)^n."""
    # so large a sum has n in its last bits; π in three parts, of which n times the first two is exact
    large = np.float32(12582912.0)
    n = (x * np.float32(0.3183098861837907) + large) - large
    r = x - n * np.float32(3.140625)
    r = r - n * np.float32(9.67502593994140625e-4)
    r = r - n * np.float32(1.509957990978376e-7)
    half = n * np.float32(0.5)
    odd = half - ((half + large) - large)
    return r, spread(np.float32(1)) - odd * odd * np.float32(8)


@njit(**INLINED, inline="always")
def _sine(r, sign):
    """The minimax polynomial of degree 9: within 1e-7, and so is the cosine."""
    t = r * r
    p = (t * np.float32(2.6089326358e-06) + np.float32(-1.9811112738e-04)) * t + np.float32(8.3330881671e-03)
    return sign * (r + r * t * (p * t + np.float32(-1.6666660462e-01)))


@njit(**INLINED, inline="always")
def _cosine(r, sign):
    t = r * r
    p = (t * np.float32(-2.6193814731e-07) + np.float32(2.4769304214e-05)) * t + np.float32(-1.3888569161e-03)
    p = (p * t + np.float32(4.1666655773e-02)) * t + np.float32(-0.5)
    return sign * (p * t + np.float32(1))


@njit(**LOOP)
def forward(layers, height, x, y, first, last):
    """Jobs first to last: y = siren(x), both flat; height: rows of a part of scratch."""
    a, b = np.zeros(height * TILE, np.float32), np.zeros(height * TILE, np.float32)
    columns = np.empty(height, np.int64)
    for job in range(first, last):
        for t in range(job * STRETCH, min((job + 1) * STRETCH, len(x)), TILE):
            live = min(TILE, len(x) - t)
            width = whole(live)
            read(x, 1, 0, t, live, width, len(x), a, 0)
            count = 1
            for layer in layers:
                point_at_rows(columns, a, 0, count)
                product(columns, count, 0, layer, b, width)
                count = layer.rows
                for row in range(0, count * TILE, TILE):
                    for n in range(row, row + width, LANES):
                        r, sign = _turns(load(b, n))
                        store(a, n, _sine(r, sign))
            move(b, 0, y, t, live)


@njit(**LOOP)
def backward(layers, back, height, x, grad, grad_x, weights, biases, first, last):
    """As `forward`: the gradient of x, and each job's sums of those of the layers' weights and biases.

    back: the layers' weights from outputs to inputs, without bias.
    """
    part, depth = height * TILE, len(layers)
    heard, slopes = np.zeros((depth + 1) * part, np.float32), np.zeros((depth + 1) * part, np.float32)
    rising, falling = np.zeros(part, np.float32), np.zeros(part, np.float32)
    columns, z = np.empty(height, np.int64), np.zeros(part, np.float32)
    for job in range(first, last):
        for t in range(job * STRETCH, min((job + 1) * STRETCH, len(x)), TILE):
            live = min(TILE, len(x) - t)
            width = whole(live)
            read(x, 1, 0, t, live, width, len(x), heard, 0)
            count = 1
            for k in range(depth - 1):
                point_at_rows(columns, heard, k * part, count)
                product(columns, count, 0, layers[k], z, width)
                count = layers[k].rows
                _bend(z, heard, slopes, (k + 1) * part, count, width)
            read(grad, 1, 0, t, live, width, len(x), rising, 0)
            for k in range(depth - 1, -1, -1):
                rows, inputs = layers[k].rows, back[k].rows
                for o in range(rows):
                    biases[k][job, o] += add_up(rising, o * TILE, width)
                point_at_rows(columns, heard, k * part, inputs)
                groups = len(layers[k].bias) // ROWS
                correlate(rising, groups, columns, even(columns, inputs), width, weights[k][job])
                point_at_rows(columns, rising, 0, rows)
                product(columns, rows, 0, back[k], falling, width)
                if k:
                    _follow(falling, slopes, k * part, inputs, width, rising)
            move(falling, 0, grad_x, t, live)


@njit(**LOOP)
def gather(lanes, sums):
    """sums (jobs, M) of lanes (jobs, M LANES)."""
    for job in range(len(lanes)):
        add_lanes(lanes[job], sums[job])


@njit(**INLINED)
def _bend(z, heard, slopes, place, count, width):
    """Sines and cosines of z."""
    for row in range(0, count * TILE, TILE):
        for n in range(row, row + width, LANES):
            r, sign = _turns(load(z, n))
            store(heard, place + n, _sine(r, sign))
            store(slopes, place + n, _cosine(r, sign))


@njit(**INLINED)
def _follow(falling, slopes, place, count, width, rising):
    """The gradients before the sines, from those behind them."""
    for row in range(0, count * TILE, TILE):
        for n in range(row, row + width, LANES):
            store(rising, n, load(falling, n) * load(slopes, place + n))
