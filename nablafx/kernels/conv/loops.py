"""The loops of the convolution blocks, compiled by numba: a tile of samples at a time, while it is in the cache.

A job is a stretch of samples of one item, however many threads share the jobs: sums over time are made by stretches,
and so do not depend on the threads. `features` are what the convolution hears, or, where it has no taps, what it gave.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from nablafx.kernels.conv.rows import add_up, blend
from nablafx.kernels.conv.steps import (
    bend,
    bend_back,
    gain_back,
    gate,
    gate_back,
    hear,
    listen,
    modulate,
    modulate_back,
    read,
    write,
    write_beside,
)
from nablafx.kernels.conv.tiles import ROWS, TILE, add_lanes, correlate, even, point, point_at_rows, product, whole
from nablafx.kernels.registers import LANES
from nablafx.kernels.vectors import INLINED, LOOP

STRETCH = 10 * TILE
# what becomes of a convolution: nothing, tanh_block, gated_block
PLAIN, TANH, GATE = 0, 1, 2


class Sums(NamedTuple):
    """Gradients (jobs, ...), each job's part: of weights and mix as (groups, columns, ROWS), of values (2 rows, M)."""

    weight: np.ndarray
    bias: np.ndarray
    values: np.ndarray
    gain: np.ndarray
    mix: np.ndarray
    mix_bias: np.ndarray


@njit(**LOOP)
def forward(kind, features, weights, values, beside, mix, out, skips, first, last):
    """Jobs first to last of a convolution and what becomes of it: out (B, rows, T), skips (B, 1, T), flat.

    mix: of GATE, the rows C + 1, the last one of which makes the skips.
    """
    length, rows = features.length, weights.rows
    z, mixed = _scratch(len(weights.bias)), _scratch(len(mix.bias))
    columns, copies = _room(features, weights)
    inner = np.empty(rows, np.int64)
    for job in range(first, last):
        item, start, stop = _stretch(job, length)
        for t in range(start, stop, TILE):
            live = min(TILE, stop - t)
            width = whole(live)
            hear(features, weights, columns, copies, item, t, live, width, z)
            if values.items:
                modulate(values, rows, item, t, live, z, z)
            if kind == GATE:
                gate(z, rows // 2, width)
                point_at_rows(inner, z, 0, rows // 2)
                product(inner, rows // 2, 0, mix, mixed, width)
                write_beside(mixed, rows // 2, beside, item, t, live, length, out)
                write(mixed, rows // 2, 1, item, t, live, length, skips)
            else:
                if kind == TANH:
                    bend(z, rows, width)
                write_beside(z, rows, beside, item, t, live, length, out)


@njit(**LOOP)
def backward(kind, grad, grad_skips, features, weights, values, beside, mix, out, base, sums, first, last):
    """As `forward`: out (B, rows, T), the gradient of what the convolution gives (of PLAIN, grad), and the jobs' sums.

    mix: of GATE, C rows, from the gradients of h and of the skips to that of what is gated. base: the item that out
    begins with.
    """
    length, rows, groups = features.length, weights.rows, len(weights.bias) // ROWS
    z, slopes, gated = _scratch(len(weights.bias)), _scratch(len(weights.bias)), _scratch(rows)
    active = _scratch(len(weights.bias)) if values.items else z
    rising, mixed = _scratch(rows + ROWS), _scratch(len(mix.bias))
    columns, copies = _room(features, weights)
    lanes = np.zeros(sums.weight.shape[1] * LANES, np.float32)
    mix_lanes = np.zeros(sums.mix.shape[1] * LANES, np.float32)
    for job in range(first, last):
        item, start, stop = _stretch(job, length)
        for t in range(start, stop, TILE):
            live = min(TILE, stop - t)
            width = whole(live)
            if kind == PLAIN:
                count = listen(features, weights, columns, copies, item, t, width)
                read(grad, rows, item, t, live, width, length, slopes, 0)
            else:
                count = hear(features, weights, columns, copies, item, t, live, width, z)
                if values.items:
                    modulate(values, rows, item, t, live, z, active)
                if kind == GATE:
                    read(grad, rows // 2, item, t, live, width, length, rising, 0)
                    read(grad_skips, 1, item, t, live, width, length, rising, rows // 2)
                    biases = sums.mix_bias[job]
                    gate_back(active, rising, gated, mixed, slopes, mix, rows // 2, width, mix_lanes, biases)
                else:
                    read(grad, rows, item, t, live, width, length, rising, 0)
                    bend_back(active, rising, slopes, rows, width)
                    gain_back(rising, rows, beside, item, t, live, length, sums.gain[job])
                if values.items:
                    modulate_back(values, rows, item, t, start, live, z, slopes, sums.values[job])
                write(slopes, 0, rows, item - base, t, live, length, out)
            for o in range(rows):
                sums.bias[job, o] += add_up(slopes, o * TILE, width)
            correlate(slopes, groups, columns, even(columns, count), width, lanes)
        add_lanes(lanes, sums.weight[job])
        add_lanes(mix_lanes, sums.mix[job])


@njit(**LOOP)
def backward_features(slopes, base, weights, grad, beside, out, low, high, first, last):
    """The gradient of the features' samples low to high, out (B, rows, high - low), from that of what they made.

    slopes: (B, O, T) from item `base` on, zeros around them. weights: rows for the features, taps from the newest to
    the oldest. beside: channels of features, and the gain with which they went to the output, whose gradient is `grad`
    (B, O, T); 0: none did.
    """
    length, outputs = slopes.length, len(beside.gain)
    z = _scratch(len(weights.bias))
    columns, copies = _room(slopes, weights)
    for job in range(first, last):
        item, start, stop = _stretch(job, high - low)
        for t in range(start, stop, TILE):
            live = min(TILE, stop - t)
            width, begin = whole(live), low + t
            since = max(0, (-begin - width) // weights.dilation + 1)
            until = min(weights.taps, (length - begin - 1) // weights.dilation + 1)
            count = point(columns, copies, slopes, item - base, begin, weights.dilation, since, until, width)
            product(columns, count, since * slopes.channels, weights, z, width)
            for o in range(outputs if beside.channels else 0):
                row, passed = o // (outputs // beside.channels) * TILE, (item * outputs + o) * length + begin
                blend(z, row, beside.gain[o], grad, passed, z, row, live)
            write(z, 0, weights.rows, item, t, live, high - low, out)


@njit(**INLINED)
def _stretch(job, length):
    """Item, first and last sample of a job."""
    jobs = (length + STRETCH - 1) // STRETCH
    start = job % jobs * STRETCH
    return job // jobs, start, min(start + STRETCH, length)


@njit(**INLINED)
def _scratch(rows):
    return np.zeros(rows * TILE, np.float32)


@njit(**INLINED)
def _room(features, weights):
    """For the columns of a convolution, an even number, and for copies of them."""
    count = features.channels * weights.taps
    return np.empty(count + 1, np.int64), np.empty(count * TILE, np.float32)
