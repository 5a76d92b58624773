"""Triton kernels of whole blocks: convolution, modulation, activation and residual, and back to the convolution.

`weight` None: no convolution, its result is given as z. `bias`, `values` and `residual` None: the block has none.
"""

from __future__ import annotations

import triton
import triton.language as tl

from nablafx.kernels.conv.cuda_parts import channels, convolve, modulation, places, tanh

# numbers that Triton would otherwise compile again for, where they are 1 or divisible by 16
NUMBERS = [
    "length", "inputs", "width", "taps", "dilation", "along_items", "along_channels", "along_time", "items", "count",
    "stride", "span", "extent", "phases", "offset",
]  # fmt: skip


@triton.jit(do_not_specialize=NUMBERS)
def forward(
    x, context, weight, bias, z, values, residual, mix, mix_bias, skip, h, s,
    length, inputs, width, taps, dilation, along_items, along_channels, along_time, items, count,
    stride, span, extent, phases, offset,
    TANH: tl.constexpr, GATED: tl.constexpr, BESIDE: tl.constexpr, REPEATS: tl.constexpr, DOT: tl.constexpr,
    WIDTH: tl.constexpr, LANES: tl.constexpr, RUN: tl.constexpr,
):  # fmt: skip
    """h (B, width, T), and s (B, 1, T) where GATED; without TANH or GATED the convolution. BESIDE: x is added."""
    item = tl.program_id(1).to(tl.int64)
    numbers = (length, inputs, width, taps, dilation, along_items, along_channels, along_time, items, count)
    where = places(tl.program_id(0), tl.arange(0, LANES), (stride, span, extent, phases, offset), 0, length, RUN)
    given = (x, context, weight, bias, z, values)
    _, _, a, b, _, _ = _arguments(given, where, item, numbers, phases, stride, GATED, DOT, WIDTH, LANES, RUN)
    t, inside, c = where[1], where[2], tl.arange(0, WIDTH)
    at, there = channels(length, t, width, inside, WIDTH)
    if GATED:
        g = tanh(a) * tl.sigmoid(b)
        weights = tl.load(skip + c, c < width, other=0.0)[:, None]
        tl.store(s + item * length + t, tl.sum(weights * g, 0), inside)
        a = tl.dot(_square(mix, width, 1, width, WIDTH), g, input_precision="tf32" if DOT else "ieee")
        a += tl.load(mix_bias + c, c < width, other=0.0)[:, None]
    elif TANH:
        a = tanh(a)
    if BESIDE:
        beside = tl.load(x + item * inputs * length + (c // REPEATS)[:, None] * length + t[None, :], there, other=0.0)
        if residual is not None:
            beside *= tl.load(residual + c, c < width, other=0.0)[:, None]
        a += beside
    tl.store(h + item * width * length + at, a, there)


@triton.jit(do_not_specialize=NUMBERS)
def backward(
    grad, grad_s, x, context, weight, bias, z, values, residual, mix, skip, grad_z, sums, products,
    length, inputs, width, taps, dilation, along_items, along_channels, along_time, items, count,
    stride, span, extent, phases, offset,
    GATED: tl.constexpr, REPEATS: tl.constexpr, DOT: tl.constexpr, WIDTH: tl.constexpr, LANES: tl.constexpr,
    RUN: tl.constexpr,
):  # fmt: skip
    """The gradient of z (B, O, T), and by tile what others are sums of.

    sums (B, tiles, 3 or 6, WIDTH): over a tile those of γ, of β and of the residual; where GATED those of γ and of β by
    halves, of skip and of mix_bias. products (B, tiles, WIDTH, WIDTH), where GATED: that of mix.
    """
    item, tile = tl.program_id(1).to(tl.int64), tl.program_id(0)
    numbers = (length, inputs, width, taps, dilation, along_items, along_channels, along_time, items, count)
    where = places(tile, tl.arange(0, LANES), (stride, span, extent, phases, offset), 0, length, RUN)
    given = (x, context, weight, bias, z, values)
    made = _arguments(given, where, item, numbers, phases, stride, GATED, DOT, WIDTH, LANES, RUN)
    za, zb, a, b, scale_a, scale_b = made
    t, inside, c = where[1], where[2], tl.arange(0, WIDTH)
    at, there = channels(length, t, width, inside, WIDTH)
    dh = tl.load(grad + item * width * length + at, there, other=0.0)
    place = item * tl.num_programs(0) + tile
    sums += place * (6 if GATED else 3) * WIDTH + c
    grad_z += item * width * (2 if GATED else 1) * length
    if GATED:
        ds = tl.load(grad_s + item * length + t, inside, other=0.0)[None, :]
        da, db, g, product = _through_gate(dh, ds, a, b, mix, skip, width, DOT, WIDTH, LANES)
        tl.store(grad_z + at, scale_a * da, there)
        tl.store(grad_z + width * length + at, scale_b * db, there)
        tl.store(products + (place * WIDTH + c[:, None]) * WIDTH + c[None, :], product)
        _store_sums(sums, values, za, da, 2, WIDTH)
        _store_sums(sums + WIDTH, values, zb, db, 2, WIDTH)
        tl.store(sums + 4 * WIDTH, tl.sum(ds * g, 1))
        tl.store(sums + 5 * WIDTH, tl.sum(dh, 1))
    else:
        h = tanh(a)
        da = dh * (1.0 - h * h)
        tl.store(grad_z + at, scale_a * da, there)
        _store_sums(sums, values, za, da, 1, WIDTH)
        if residual is not None:
            x += item * inputs * length
            beside = tl.load(x + (c // REPEATS)[:, None] * length + t[None, :], there, other=0.0)
            tl.store(sums + 2 * WIDTH, tl.sum(dh * beside, 1))


@triton.jit
def _through_gate(dh, ds, a, b, mix, skip, width, DOT: tl.constexpr, WIDTH: tl.constexpr, LANES: tl.constexpr):
    """Gradients of both arguments of the gate, what it gives, and the gradient of mix."""
    precision: tl.constexpr = "tf32" if DOT else "ieee"
    c = tl.arange(0, WIDTH)
    ta, sb = tanh(a), tl.sigmoid(b)
    weights = tl.load(skip + c, c < width, other=0.0)[:, None]
    dg = tl.dot(_square(mix, 1, width, width, WIDTH), dh, input_precision=precision) + weights * ds
    g = ta * sb
    # cut into parts, one a warp: each has a small product of its own
    parts: tl.constexpr = tl.constexpr(4 if LANES >= 64 else 1)
    left = tl.permute(tl.reshape(dh, [WIDTH, parts, LANES // parts]), (1, 0, 2))
    right = tl.permute(tl.reshape(g, [WIDTH, parts, LANES // parts]), (1, 2, 0))
    product = tl.sum(tl.dot(left, right, input_precision=precision), 0)
    return dg * sb * (1.0 - ta * ta), dg * g * (1.0 - sb), g, product


@triton.jit
def _store_sums(sums, values, z, grad, HALVES: tl.constexpr, WIDTH: tl.constexpr):
    """What γ and β of half of the channels get from a tile."""
    if values is not None:
        tl.store(sums, tl.sum(grad * z, 1))
    tl.store(sums + HALVES * WIDTH, tl.sum(grad, 1))


@triton.jit
def _arguments(given, where, item, numbers, phases, stride, GATED: tl.constexpr, DOT: tl.constexpr,
               WIDTH: tl.constexpr, LANES: tl.constexpr, RUN: tl.constexpr):  # fmt: skip
    """z, γ z + β and γ of a tile by halves; without values 1 for γ."""
    x, context, weight, bias, z, values = given
    length, inputs, width, taps, dilation, along_items, along_channels, along_time, items, count = numbers
    outputs = width * 2 if GATED else width
    if weight is not None:
        sizes = (length, inputs, width, taps, dilation, along_channels, along_time, stride)
        x, context = x + item * inputs * length, context + item * along_items
        za, zb = convolve(x, context, weight, bias, where, sizes, GATED, DOT, WIDTH, LANES, RUN)
    else:
        at, there = channels(length, where[1], width, where[2], WIDTH)
        z += item * outputs * length
        za = tl.load(z + at, there, other=0.0)
        zb = tl.load(z + width * length + at, there, other=0.0) if GATED else za
    a, b, scale_a, scale_b = za, zb, 1.0, 1.0
    if values is not None:
        values += item % items * 2 * outputs * count
        # without blocks of their own all tiles have the one set
        index = tl.minimum(tl.program_id(0) // phases, count - 1)
        scale_a, shift_a = modulation(values, 0, index, count, width, outputs, WIDTH)
        a = scale_a * za + shift_a
        if GATED:
            scale_b, shift_b = modulation(values, width, index, count, width, outputs, WIDTH)
            b = scale_b * zb + shift_b
    return za, zb, a, b, scale_a, scale_b


@triton.jit
def _square(mix, along_rows, along_columns, width, WIDTH: tl.constexpr):
    """A (width, width) matrix or its transpose, filled up with zeros."""
    row, column = tl.arange(0, WIDTH)[:, None], tl.arange(0, WIDTH)[None, :]
    at = mix + row * along_rows + column * along_columns
    return tl.load(at, (row < width) & (column < width), other=0.0)
