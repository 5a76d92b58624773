"""Products of a tile of samples, for loops that numba compiles.

A convolution is a product of its weights with columns: column k I + i is channel i of the features as tap k hears it, a
stretch of memory that begins at some address. That lies in the features, in what came before them, or, where a tile
goes past an end of either, in a copy. The products of a tile stay in registers, eight rows times 32 samples of them.

What a tile makes lies in scratch, rows of TILE samples, of which whole registers are worked on: past the end of the
features their samples are zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from nablafx.kernels.conv.rows import move
from nablafx.kernels.registers import LANES, address, load, load_at, spread_from, store, total, weighted
from nablafx.kernels.vectors import INLINED

TILE = 384  # samples: rows of it for sixteen channels stay in the first cache
ROWS = 8  # of a product that are summed at once

# an address counts bytes
_BYTES = 4


class Features(NamedTuple):
    """(B, C, T), flat, and what came before them: a flat array with steps from item to item, channel, and sample."""

    x: np.ndarray
    channels: int
    length: int
    context: np.ndarray
    steps: tuple[int, int, int]
    reach: int


class Weights(NamedTuple):
    """Of a product: (groups, columns, ROWS) and bias (groups, ROWS), flat; rows beyond the last are zero.

    taps, dilation: that the columns come from; 0 taps: there is no convolution.
    """

    weight: np.ndarray
    bias: np.ndarray
    rows: int
    taps: int
    dilation: int


@njit(**INLINED)
def point(columns, copies, features, item, origin, dilation, first, last, width):
    """Where `width` samples of each channel begin from sample origin + k dilation on, for taps first to last."""
    n = 0
    for k in range(first, last):
        start = origin + k * dilation
        for i in range(features.channels):
            row = (item * features.channels + i) * features.length
            before = item * features.steps[0] + i * features.steps[1] + (start + features.reach) * features.steps[2]
            if start >= 0 and start + width <= features.length:
                columns[n] = address(features.x, row + start)
            elif start + width <= 0 and features.steps[2] == 1:
                columns[n] = address(features.context, before)
            else:
                _copy(copies, n * TILE, width, features, before, row, start)
                columns[n] = address(copies, n * TILE)
            n += 1
    return n


@njit(**INLINED)
def _copy(copies, place, width, features, before, row, start):
    """The samples from `start` on: what came before, the features, zeros after them."""
    begin, end = min(max(-start, 0), width), min(max(features.length - start, 0), width)
    for t in range(begin):
        copies[place + t] = features.context[before + t * features.steps[2]]
    if end > begin:
        move(features.x, row + start + begin, copies, place + begin, end - begin)
    for t in range(max(begin, end), width):
        copies[place + t] = 0


@njit(**INLINED)
def point_at_rows(columns, scratch, place, count):
    """The columns are so many rows of scratch, the first of which begins at a place."""
    for n in range(count):
        columns[n] = address(scratch, place + n * TILE)


@njit(**INLINED)
def whole(live):
    """So many samples in whole registers."""
    return (live + LANES - 1) // LANES * LANES


@njit(**INLINED)
def even(columns, count):
    """The number of columns made even: a last one that is none repeats the one before."""
    if count % 2:
        columns[count] = columns[count - 1]
    return count + count % 2


@njit(**INLINED)
def product(columns, count, skipped, weights, out, width):
    """out (rows, TILE) = weights columns + bias; the columns are those after the first `skipped` of the weights'."""
    groups = len(weights.bias) // ROWS
    stride = len(weights.weight) // groups
    t = 0
    while t < width:
        wide = width - t >= 2 * LANES
        for g in range(groups):
            n, row = g * stride + skipped * ROWS, g * ROWS * TILE + t
            if wide:
                _two(columns, count, weights.weight, n, weights.bias, g * ROWS, out, row, t * _BYTES)
            else:
                _one(columns, count, weights.weight, n, weights.bias, g * ROWS, out, row, t * _BYTES)
        t += 2 * LANES if wide else LANES


@njit(**INLINED)
def _two(columns, count, weight, n, bias, first, out, row, ahead):
    """Eight rows of a product by two registers of samples: with three, the compiler finds too few for them."""
    a = b = _spread(bias, first)
    for j in range(count):
        u, v = load_at(columns[j] + ahead), load_at(columns[j] + ahead + LANES * _BYTES)
        a, b = _scaled(weight, n, u, a), _scaled(weight, n, v, b)
        n += ROWS
    _store(out, row, TILE, a)
    _store(out, row + LANES, TILE, b)


@njit(**INLINED)
def _one(columns, count, weight, n, bias, first, out, row, ahead):
    a = _spread(bias, first)
    for j in range(count):
        a = _scaled(weight, n, load_at(columns[j] + ahead), a)
        n += ROWS
    _store(out, row, TILE, a)


@njit(**INLINED)
def correlate(rows, groups, columns, count, width, sums):
    """sums (groups, columns, ROWS, LANES) += products of rows (groups ROWS, TILE) with an even number of columns."""
    for g in range(groups):
        row = g * ROWS * TILE
        for j in range(0, count, 2):
            n = (g * count + j) * ROWS * LANES
            a, b = _load(sums, n), _load(sums, n + ROWS * LANES)
            p, q = columns[j], columns[j + 1]
            for t in range(row, row + width, LANES):
                u, v = load_at(p), load_at(q)
                a, b = _multiplied(rows, t, u, a), _multiplied(rows, t, v, b)
                p += LANES * _BYTES
                q += LANES * _BYTES
            _store(sums, n, LANES, a)
            _store(sums, n + ROWS * LANES, LANES, b)


@njit(**INLINED)
def add_lanes(sums, totals):
    """totals[n] = Σ of the lanes n of sums, which become zero."""
    for n in range(len(totals)):
        totals[n] = total(load(sums, n * LANES))
    sums[:] = 0


@njit(**INLINED)
def _spread(a, n):
    low = spread_from(a, n), spread_from(a, n + 1), spread_from(a, n + 2), spread_from(a, n + 3)
    top = spread_from(a, n + 4), spread_from(a, n + 5), spread_from(a, n + 6), spread_from(a, n + 7)
    return low + top


@njit(**INLINED)
def _scaled(a, n, v, w):
    """a[n + r] v + w[r] for eight rows r."""
    low = weighted(spread_from(a, n), v, w[0]), weighted(spread_from(a, n + 1), v, w[1])
    mid = weighted(spread_from(a, n + 2), v, w[2]), weighted(spread_from(a, n + 3), v, w[3])
    top = weighted(spread_from(a, n + 4), v, w[4]), weighted(spread_from(a, n + 5), v, w[5])
    return low + mid + top + (weighted(spread_from(a, n + 6), v, w[6]), weighted(spread_from(a, n + 7), v, w[7]))


@njit(**INLINED)
def _multiplied(a, n, v, w):
    """a[r, n : n + 16] v + w[r] for eight rows r of TILE numbers."""
    low = weighted(load(a, n), v, w[0]), weighted(load(a, n + TILE), v, w[1])
    mid = weighted(load(a, n + 2 * TILE), v, w[2]), weighted(load(a, n + 3 * TILE), v, w[3])
    top = weighted(load(a, n + 4 * TILE), v, w[4]), weighted(load(a, n + 5 * TILE), v, w[5])
    return low + mid + top + (weighted(load(a, n + 6 * TILE), v, w[6]), weighted(load(a, n + 7 * TILE), v, w[7]))


@njit(**INLINED)
def _load(a, n):
    """Eight registers, one after another."""
    low = load(a, n), load(a, n + LANES), load(a, n + 2 * LANES), load(a, n + 3 * LANES)
    top = load(a, n + 4 * LANES), load(a, n + 5 * LANES), load(a, n + 6 * LANES), load(a, n + 7 * LANES)
    return low + top


@njit(**INLINED)
def _store(a, n, stride, rows):
    """Eight registers, `stride` numbers apart."""
    store(a, n, rows[0])
    store(a, n + stride, rows[1])
    store(a, n + 2 * stride, rows[2])
    store(a, n + 3 * stride, rows[3])
    store(a, n + 4 * stride, rows[4])
    store(a, n + 5 * stride, rows[5])
    store(a, n + 6 * stride, rows[6])
    store(a, n + 7 * stride, rows[7])
