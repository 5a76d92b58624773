"""Parts of the Triton kernels of convolution blocks: places of a tile, convolution of it, activations.

A program makes one tile: LANES samples of all channels of one item. A thread has all the channels of its samples, so
that a sample read once meets WIDTH weights in registers, and weights are read as vectors that all threads share.

Samples of a tile are LANES / RUN runs of RUN neighbours, `stride` apart. Runs that are a dilation apart share most of
what their taps read, and the cache next to the processor serves it; else a tile is one run. `tiling` of a launch,
(stride, span, extent, phases, offset), says where tile n begins: at the run n % phases of the first `extent` samples
of its group, and groups are `span` samples apart, the first `offset` samples before the audio.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def places(tile, lane, tiling, before, length, RUN: tl.constexpr):
    """The first sample of a tile, its samples by lane, and which of them lie in [-before, length)."""
    stride, span, extent, phases, offset = tiling
    start = tile % phases * RUN
    first = tile // phases * span - offset + start
    t = first + lane // RUN * stride + lane % RUN
    return first, t, (start + lane % RUN < extent) & (t >= -before) & (t < length)


@triton.jit
def convolve(x, context, weight, bias, where, sizes, GATED: tl.constexpr, DOT: tl.constexpr,
             WIDTH: tl.constexpr, LANES: tl.constexpr, RUN: tl.constexpr):  # fmt: skip
    """Σ_k W_k x[t - d (K - 1 - k)] + b for a tile, (WIDTH, LANES), and where GATED for the other half of the channels.

    x, context: of this item; weight: (K, I, 1 or 2, WIDTH), padded with zeros.
    """
    first, t, inside = where
    length, inputs, width, taps, dilation, along_channels, along_time, stride = sizes
    c = tl.arange(0, WIDTH)
    a = tl.zeros([WIDTH, LANES], tl.float32)
    b = a
    if bias is not None:
        a += tl.load(bias + c, c < width, other=0.0)[:, None]
        if GATED:
            b += tl.load(bias + width + c, c < width, other=0.0)[:, None]
    last, reach = first + (LANES // RUN - 1) * stride + RUN - 1, (taps - 1) * dilation
    for k in range(taps):
        shift = reach - k * dilation
        at = t - shift
        if last >= shift:
            a, b = weigh(a, b, x + at, length, inputs, inside & (at >= 0), weight, GATED, DOT, WIDTH)
        if first < shift:
            past = context + (at + reach) * along_time
            a, b = weigh(a, b, past, along_channels, inputs, inside & (at < 0), weight, GATED, DOT, WIDTH)
        weight += inputs * (2 if GATED else 1) * WIDTH
    return a, b


@triton.jit
def weigh(a, b, at, step, inputs, inside, weight, GATED: tl.constexpr, DOT: tl.constexpr, WIDTH: tl.constexpr):
    """Add the inputs, `step` apart, times their weights: in float32 one after the other, or (DOT) sixteen in TF32."""
    c, rows = tl.arange(0, WIDTH), tl.arange(0, 16)
    apart: tl.constexpr = 2 * WIDTH if GATED else WIDTH
    if DOT:
        for i in range(0, inputs, 16):
            given = i + rows < inputs
            u = tl.load(at[None, :] + (i + rows)[:, None] * step, given[:, None] & inside[None, :], other=0.0)
            w = weight + (i + rows)[None, :] * apart + c[:, None]
            a = tl.dot(tl.load(w, given[None, :], other=0.0), u, a, input_precision="tf32")
            if GATED:
                b = tl.dot(tl.load(w + WIDTH, given[None, :], other=0.0), u, b, input_precision="tf32")
    else:
        for _ in tl.range(0, inputs, loop_unroll_factor=8):
            u = tl.load(at, inside, other=0.0)
            a += tl.load(weight + c)[:, None] * u[None, :]
            if GATED:
                b += tl.load(weight + WIDTH + c)[:, None] * u[None, :]
            at += step
            weight += apart
    return a, b


@triton.jit
def channels(length, t, width, inside, WIDTH: tl.constexpr):
    """Where (WIDTH, LANES) features lie in those of an item, and which of them there are."""
    c = tl.arange(0, WIDTH)
    return c[:, None] * length + t[None, :], (c < width)[:, None] & inside[None, :]


@triton.jit
def modulation(values, row, index, count, width, outputs, WIDTH: tl.constexpr):
    """γ and β of block `index`, (WIDTH, 1), for channels from `row` on; values: (2 outputs, count) of this item."""
    c = tl.arange(0, WIDTH)
    at = values + (row + c) * count + index
    scale = tl.load(at, c < width, other=0.0)
    return scale[:, None], tl.load(at + outputs * count, c < width, other=0.0)[:, None]


@triton.jit
def tanh(u):
    """By a series where the exponentials would cancel: within 3e-7 of the value."""
    s = u * u
    near = u - u * s * (1 / 3 - s * (2 / 15 - s * (17 / 315)))
    e = tl.exp(-2.0 * tl.abs(u))
    far = (1.0 - e) / (1.0 + e)
    return tl.where(s < 0.04, near, tl.where(u < 0.0, -far, far))
