"""Triton kernels of the gradients of a convolution's input and of its weights."""

from __future__ import annotations

import triton
import triton.language as tl

from nablafx.kernels.conv.cuda_parts import channels, places, weigh

_TILING = ["stride", "span", "extent", "phases", "offset"]
_SIZES = ["length", "inputs", "outputs", "taps", "dilation"]


@triton.jit(do_not_specialize=[*_SIZES, *_TILING])
def of_input(
    grad_z, weight, grad, residual, grad_x, grad_context, length, inputs, outputs, taps, dilation,
    stride, span, extent, phases, offset,
    BESIDE: tl.constexpr, REPEATS: tl.constexpr, DOT: tl.constexpr,
    WIDTH: tl.constexpr, LANES: tl.constexpr, RUN: tl.constexpr,
):  # fmt: skip
    """Σ_k W_k^T grad_z[t + d (K - 1 - k)]: grad_x (B, I, T), and grad_context (B, I, d (K - 1)) where t < 0.

    weight: (K, O, WIDTH), padded with zeros. BESIDE: what came past the convolution is added, grad (B, I REPEATS, T),
    scaled by `residual` where it is not None.
    """
    item, reach = tl.program_id(1).to(tl.int64), (taps - 1) * dilation
    tiling = (stride, span, extent, phases, offset)
    first, t, inside = places(tl.program_id(0), tl.arange(0, LANES), tiling, reach, length, RUN)
    last = first + (LANES // RUN - 1) * stride + RUN - 1
    sums = tl.zeros([WIDTH, LANES], tl.float32)
    grad_z += item * outputs * length
    for k in range(taps):
        shift = reach - k * dilation
        at = t + shift
        if (first + shift < length) & (last + shift >= 0):
            there = inside & (at >= 0) & (at < length)
            sums, _ = weigh(sums, sums, grad_z + at, length, outputs, there, weight, False, DOT, WIDTH)
        weight += outputs * WIDTH
    c, now = tl.arange(0, WIDTH), inside & (t >= 0)
    at, there = channels(length, t, inputs, now, WIDTH)
    if BESIDE:
        grad += item * inputs * REPEATS * length
        for r in range(REPEATS):
            beside = tl.load(grad + (c * REPEATS + r)[:, None] * length + t[None, :], there, other=0.0)
            if residual is not None:
                beside *= tl.load(residual + c * REPEATS + r, c < inputs, other=0.0)[:, None]
            sums += beside
    tl.store(grad_x + item * inputs * length + at, sums, there)
    if first < 0:
        at, there = channels(reach, t + reach, inputs, inside & (t < 0), WIDTH)
        tl.store(grad_context + item * inputs * reach + at, sums, there)


@triton.jit(do_not_specialize=[*_SIZES, "along_items", "along_channels", "along_time", "tiles", "parts", *_TILING])
def of_weights(
    grad_z, x, context, partial, length, inputs, outputs, taps, dilation, along_items, along_channels, along_time,
    tiles, parts, stride, span, extent, phases, offset,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CUTS: tl.constexpr, DOT: tl.constexpr,
    LANES: tl.constexpr, RUN: tl.constexpr,
):  # fmt: skip
    """Σ_t grad_z[o, t] x[i, t - d (K - 1 - k)] over some tiles, for ROWS outputs and COLUMNS of the (tap, input).

    partial (B, programs, O, K I): the first `parts` programs hear x, and share the tiles among them; others hear the
    context, as only the first tiles do. A tile is cut into CUTS, one a warp, each with a product of its own.
    """
    item, reach = tl.program_id(1).to(tl.int64), (taps - 1) * dilation
    columns = taps * inputs
    across = (columns + COLUMNS - 1) // COLUMNS
    blocks = (outputs + ROWS - 1) // ROWS * across
    # neighbours share their audio
    part, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    o = block // across * ROWS + tl.arange(0, ROWS)
    n = block % across * COLUMNS + tl.arange(0, COLUMNS)
    # beyond the last ones: the last ones again, which nobody stores
    row, column = tl.minimum(o, outputs - 1), tl.minimum(n, columns - 1)
    programs = tl.num_programs(0) // blocks
    at, along, step, low, size = x + item * inputs * length, length, 1, 0, length
    begin, end, leap = part, tiles, parts
    if part >= parts:
        at, along, step, low, size = context + item * along_items, along_channels, along_time, -reach, reach
        begin, end, leap = part - parts, tl.minimum((reach + span - 1) // span * phases, tiles), programs - parts
    at += (column % inputs * along)[None, :, None]
    shift = (reach - column // inputs * dilation + low)[None, :, None]
    grad_z += item * outputs * length + (row * length)[None, :, None]
    lane = tl.arange(0, CUTS)[:, None, None] * (LANES // CUTS) + tl.arange(0, LANES // CUTS)[None, None, :]
    sums = tl.zeros([CUTS, ROWS, COLUMNS], tl.float32)
    for tile in range(begin, end, leap):
        _, t, inside = places(tile, lane, (stride, span, extent, phases, offset), 0, length, RUN)
        g = tl.load(grad_z + t, inside, other=0.0)
        then = t - shift
        # one comparison for both ends: below zero is far beyond `size`
        u = tl.load(at + then * step, then.to(tl.uint32, bitcast=True) < size.to(tl.uint32), other=0.0)
        sums = tl.dot(g, tl.permute(u, (0, 2, 1)), sums, input_precision="tf32" if DOT else "ieee")
    partial += (item * programs + part) * outputs * columns
    to = o[:, None] * columns + n[None, :]
    tl.store(partial + to, tl.sum(sums, 0), (o < outputs)[:, None] & (n < columns)[None, :])
