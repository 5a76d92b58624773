"""What happens to a tile of samples before and after the products, for loops that numba compiles.

Rows of TILE samples are in scratch, `live` of them in the audio and `width` of them in whole registers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from nablafx.kernels.conv.rows import add_up, blend, dot, move, scale
from nablafx.kernels.conv.tiles import ROWS, TILE, correlate, even, point, point_at_rows, product
from nablafx.kernels.registers import LANES, load, sigmoid, spread, store, tanh
from nablafx.kernels.vectors import INLINED


class Values(NamedTuple):
    """γ and β (items, 2 rows, sets), flat; items 0: there are none."""

    values: np.ndarray
    items: int
    sets: int
    block: int
    offset: int


class Beside(NamedTuple):
    """Features (B, channels, T), flat, and a gain for each row that they are added to; channels 0: there are none."""

    x: np.ndarray
    channels: int
    gain: np.ndarray


@njit(**INLINED)
def hear(features, weights, columns, copies, item, t, live, width, z):
    """z, the convolution of the features from sample t on, and how many columns it has; or the features as they are."""
    if weights.taps == 0:
        read(features.x, features.channels, item, t, live, width, features.length, z, 0)
        return 0
    count = listen(features, weights, columns, copies, item, t, width)
    product(columns, count, 0, weights, z, width)
    return count


@njit(**INLINED)
def listen(features, weights, columns, copies, item, t, width):
    """The columns of the convolution from sample t on, and how many they are."""
    origin = t - (weights.taps - 1) * weights.dilation
    return point(columns, copies, features, item, origin, weights.dilation, 0, weights.taps, width)


@njit(**INLINED)
def read(audio, channels, item, t, live, width, length, rows, first):
    """Rows of scratch from `first` on: the channels of an item from sample t on, and zeros."""
    for c in range(channels):
        row = (first + c) * TILE
        move(audio, (item * channels + c) * length + t, rows, row, live)
        for s in range(live, width):
            rows[row + s] = 0


@njit(**INLINED)
def write(rows, first, channels, item, t, live, length, audio):
    """The inverse of `read`."""
    for c in range(channels):
        move(rows, (first + c) * TILE, audio, (item * channels + c) * length + t, live)


@njit(**INLINED)
def write_beside(rows, channels, beside, item, t, live, length, audio):
    """As `write`, with features beside the rows."""
    if beside.channels == 0:
        write(rows, 0, channels, item, t, live, length, audio)
        return
    repeats = channels // beside.channels
    for c in range(channels):
        passing = (item * beside.channels + c // repeats) * length + t
        place = (item * channels + c) * length + t
        blend(rows, c * TILE, beside.gain[c], beside.x, passing, audio, place, live)


@njit(**INLINED)
def modulate(values, rows, item, t, live, z, out):
    """out = γ z + β."""
    for o in range(rows):
        scales = ((item if values.items > 1 else 0) * 2 * rows + o) * values.sets
        s = 0
        while s < live:
            n = (t + s + values.offset) // values.block
            until = min((n + 1) * values.block - values.offset - t, live)
            gain, shift = values.values[scales + n], values.values[scales + rows * values.sets + n]
            scale(z, o * TILE + s, gain, shift, out, until - s)
            s = until


@njit(**INLINED)
def modulate_back(values, rows, item, t, start, live, z, slopes, sums):
    """slopes of γ z + β become those of z; sums (2 rows, M) get those of γ and β, M blocks from sample `start` on."""
    kept, skipped = len(sums) // (2 * rows), (start + values.offset) // values.block
    for o in range(rows):
        scales = ((item if values.items > 1 else 0) * 2 * rows + o) * values.sets
        s = 0
        while s < live:
            n = (t + s + values.offset) // values.block
            until = min((n + 1) * values.block - values.offset - t, live)
            place = o * TILE + s
            sums[o * kept + n - skipped] += dot(slopes, place, z, place, until - s)
            sums[(rows + o) * kept + n - skipped] += add_up(slopes, place, until - s)
            scale(slopes, place, values.values[scales + n], np.float32(0), slopes, until - s)
            s = until


@njit(**INLINED)
def bend(z, rows, width):
    """z = tanh(z)."""
    for o in range(rows):
        for n in range(o * TILE, o * TILE + width, LANES):
            store(z, n, tanh(load(z, n)))


@njit(**INLINED)
def bend_back(bent, rising, slopes, rows, width):
    """slopes of what was bent, from `rising` after it."""
    one = spread(np.float32(1))
    for o in range(rows):
        for n in range(o * TILE, o * TILE + width, LANES):
            y = tanh(load(bent, n))
            store(slopes, n, load(rising, n) * (one - y * y))


@njit(**INLINED)
def gain_back(rising, rows, beside, item, t, live, length, gains):
    """gains get the gradient of the gain of what goes beside."""
    for o in range(rows if beside.channels else 0):
        passing = (item * beside.channels + o // (rows // beside.channels)) * length + t
        gains[o] += dot(rising, o * TILE, beside.x, passing, live)


@njit(**INLINED)
def gate(z, half, width):
    """The first rows of z = tanh(first half) sigmoid(second half)."""
    for c in range(half):
        for n in range(c * TILE, c * TILE + width, LANES):
            store(z, n, tanh(load(z, n)) * sigmoid(load(z, n + half * TILE)))


@njit(**INLINED)
def gate_back(z, rising, gated, mixed, slopes, mix, half, width, lanes, biases):
    """slopes of what was gated, z, from `rising` of h and of the skips.

    lanes, biases: sums for the gradients of the weights that mix, as of `correlate`, and of their biases.
    """
    columns, one = np.empty(half + 2, np.int64), spread(np.float32(1))
    point_at_rows(columns, rising, 0, half + 1)
    product(columns, half + 1, 0, mix, mixed, width)
    for c in range(half):
        for n in range(c * TILE, c * TILE + width, LANES):
            y, opens, grad = tanh(load(z, n)), sigmoid(load(z, n + half * TILE)), load(mixed, n)
            store(gated, n, y * opens)
            store(slopes, n, grad * opens * (one - y * y))
            store(slopes, n + half * TILE, grad * y * opens * (one - opens))
        biases[c] += add_up(rising, c * TILE, width)
    point_at_rows(columns, gated, 0, half)
    correlate(rising, (half + ROWS) // ROWS, columns, even(columns, half), width, lanes)
