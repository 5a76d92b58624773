"""Launches of the Triton kernels: tiles, arguments in the order that kernels read, and sums over tiles."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx.errors import UserError
from nablafx.kernels.conv import cuda_blocks, cuda_gradients

LANES = 256  # samples of a tile
RUN = 32  # neighbours in the runs of a tile: what memory hands out at once
# of the gradient of weights: samples of a tile, cuts of it, and columns of a product
SAMPLES, CUTS, COLUMNS = 64, 4, 64
PROGRAMS = 2048  # enough for any GPU to be busy
# Triton would copy the factors of products ahead, where there are other programs to run meanwhile
ONE_STAGE = {"num_stages": 1}

Held = tuple[Tensor | None, int, int]  # values (B or 1, 2 O, N) or None, their block and its offset
Past = tuple[Tensor, Tensor, Tensor | None, int]  # context, weight, bias, dilation
Gate = tuple[Tensor, Tensor, Tensor]  # mix, mix_bias, skip


class Block(NamedTuple):
    """A block as its kernels take it: x, context, weight, bias, z, values, residual, and its sizes.

    Either there is a past, and the convolution is part of the kernel, or z is given.
    """

    arrays: tuple[Tensor | None, ...]
    sizes: tuple[int, ...]
    halves: int
    tiling: Tiling
    options: dict[str, Any]


class Tiling(NamedTuple):
    """What kernels are told of tiles, see :mod:`nablafx.kernels.conv.cuda_parts`; their number and shape."""

    numbers: tuple[int, int, int, int, int]
    tiles: int
    lanes: int
    run: int


def block_of(
    x: Tensor | None,
    past: Past | None,
    held: Held,
    z: Tensor | None = None,
    residual: Tensor | None = None,
    gated: bool = False,
) -> Block:
    context, weight, bias, dilation = past or (None, None, None, 1)
    given = x if z is None else z
    assert given is not None
    halves, inputs, length = 2 if gated else 1, 1 if x is None else x.shape[1], given.shape[2]
    width = (given.shape[1] if weight is None else weight.shape[0]) // halves
    channels = max(inputs, width * halves)
    if channels * length >= 2**31:
        raise UserError(
            f"{channels} channels of {length} samples are more numbers than the CUDA kernels count to in one item, "
            "2^31 - 1; cut the audio, and pass the state on from piece to piece"
        )
    # two programs of half the size: while one waits for all of its threads, the other runs
    values, lanes = held[0], _lanes(held, LANES // halves)
    items, sets = (1, 1) if values is None else (values.shape[0], values.shape[2])
    tiling = _held_tiling(held, lanes) if sets > 1 else _tiling(length, 0, dilation, lanes)
    options = {"REPEATS": max(1, width // inputs), **_options(tiling, width, gated)}
    packed = None if weight is None else _packed(weight.permute(2, 1, 0), halves, options)
    arrays = *_contiguous(x), context, packed, *_contiguous(bias, z, values, residual)
    strides = (0, 0, 0) if context is None else context.stride()
    sizes = (length, inputs, width, 1 if weight is None else weight.shape[2], dilation, *strides, items, sets)
    return Block(arrays, sizes, halves, tiling, options)


def forward(
    block: Block, gate: Gate | None = None, tanh: bool = False, beside: bool = False
) -> tuple[Tensor, Tensor | None]:
    """What the block gives."""
    given = block.arrays[0] if block.arrays[4] is None else block.arrays[4]
    assert given is not None
    batch, (length, _, width, *_) = given.shape[0], block.sizes
    h = given.new_empty(batch, width, length)
    s = given.new_empty(batch, 1, length) if gate else None
    arrays = (*block.arrays, *_contiguous(*(gate or (None, None, None))), h, s)
    kinds = {"TANH": tanh, "GATED": gate is not None, "BESIDE": beside, **block.options}
    warps = _warps(block.options, block.halves)
    with torch.cuda.device_of(given):
        cuda_blocks.forward[(block.tiling.tiles, batch)](
            *arrays, *block.sizes, *block.tiling.numbers, **kinds, num_warps=warps
        )
    return h, s


def backward(
    block: Block, grad: Tensor, grad_s: Tensor | None = None, gate: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradient of z, sums (B, N, 3 or 6, width) over each set of values, and mix's gradient where gated."""
    batch, width, length = grad.shape
    tiles, padded, halves = block.tiling.tiles, block.options["WIDTH"], block.halves
    grad_z = grad.new_empty(batch, width * halves, length)
    sums = grad.new_empty(batch, tiles, 3 * halves, padded)
    products = grad.new_empty(batch, tiles, padded, padded) if gate else None
    mix, skip = _contiguous(*(gate or (None, None)))
    warps = _warps(block.options, 2 * halves)
    arrays = (*_contiguous(grad, grad_s), *block.arrays, mix, skip, grad_z, sums, products)
    with torch.cuda.device_of(grad):
        cuda_blocks.backward[(tiles, batch)](
            *arrays, *block.sizes, *block.tiling.numbers, GATED=gate is not None, **block.options, num_warps=warps
        )
    by_set = sums[..., :width].unflatten(1, (block.sizes[-1], -1)).sum(2)
    return grad_z, by_set, None if products is None else products.sum((0, 1))[:width, :width].contiguous()


def gradients(
    grad_z: Tensor,
    x: Tensor,
    context: Tensor,
    weight: Tensor,
    dilation: int,
    beside: Tensor | None = None,
    residual: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, context and weight; beside: the gradient of what x was added to, times residual."""
    x = x.contiguous()
    batch, inputs, length = x.shape
    outputs, _, taps = weight.shape
    grad_x, grad_context = torch.empty_like(x), x.new_empty(batch, inputs, (taps - 1) * dilation)
    tiling = _tiling(length, (taps - 1) * dilation, dilation, LANES)
    repeats = 1 if beside is None else beside.shape[1] // inputs
    options = _options(tiling, inputs)
    packed = _packed(weight.permute(2, 0, 1), 1, options)
    arrays = (grad_z, packed, *_contiguous(beside, residual), grad_x, grad_context)
    sizes, warps = (length, inputs, outputs, taps, dilation), _warps(options, 1)
    with torch.cuda.device_of(x):
        cuda_gradients.of_input[(tiling.tiles, batch)](
            *arrays, *sizes, *tiling.numbers, BESIDE=beside is not None, REPEATS=repeats, **options, num_warps=warps
        )
    return grad_x, grad_context, weights_gradient(grad_z, x, context, weight, dilation)


def weights_gradient(grad_z: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> Tensor:
    batch, inputs, length = x.shape
    outputs, _, taps = weight.shape
    tiling, rows = _tiling(length, 0, dilation, SAMPLES), 16 if outputs <= 16 else 32
    blocks = -(-outputs // rows) * -(-taps * inputs // COLUMNS)
    parts = min(tiling.tiles, max(1, PROGRAMS // (batch * blocks)))
    _, span, _, phases, _ = tiling.numbers
    programs = parts + min(parts, -(-(taps - 1) * dilation // span) * phases)
    partial = x.new_empty(batch, programs, outputs, taps * inputs)
    sizes = (length, inputs, outputs, taps, dilation, *context.stride(), tiling.tiles, parts)
    shape = {"ROWS": rows, "COLUMNS": COLUMNS, "CUTS": CUTS, "LANES": SAMPLES, "RUN": tiling.run}
    with torch.cuda.device_of(x):
        cuda_gradients.of_weights[(programs * blocks, batch)](
            grad_z, x, context, partial, *sizes, *tiling.numbers, **shape, DOT=_reduced(), num_warps=CUTS, **ONE_STAGE
        )
    return partial.sum((0, 1)).unflatten(1, (taps, inputs)).transpose(1, 2).contiguous()


def _lanes(held: Held, most: int) -> int:
    """Samples of a tile, which has one set of values."""
    values, block, _ = held
    return most if values is None or values.shape[2] == 1 else min(most, max(16, _power_of_two(block)))


def _held_tiling(held: Held, lanes: int) -> Tiling:
    """Tiles that do not reach beyond a block of values."""
    values, block, offset = held
    assert values is not None
    phases = -(-block // lanes)
    return Tiling((0, block, block, phases, offset), values.shape[2] * phases, lanes, lanes)


def _tiling(length: int, before: int, dilation: int, lanes: int) -> Tiling:
    """Tiles over [-before, length), of runs that are a dilation apart where that leaves few lanes idle."""
    rows, total = lanes // RUN, length + before
    phases, groups = -(-dilation // RUN), -(-total // max(1, rows * dilation))
    if rows > 1 and dilation >= RUN and groups * phases * lanes <= 1.25 * total:
        return Tiling((dilation, rows * dilation, dilation, phases, before), groups * phases, lanes, RUN)
    return Tiling((0, lanes, lanes, 1, before), -(-total // lanes), lanes, lanes)


def _options(tiling: Tiling, width: int, product: bool = False) -> dict[str, Any]:
    """Shapes that kernels are compiled for; product: one takes part in a matrix product, which needs a width of 16."""
    reduced = _reduced() and width > 8
    padded = max(_power_of_two(width), 16 if product or reduced else 1)
    return {"DOT": reduced, "WIDTH": padded, "LANES": tiling.lanes, "RUN": tiling.run, **ONE_STAGE}


def _warps(options: dict[str, Any], features: int) -> int:
    """For two samples a thread, or one, as `features` of each have room in its registers."""
    samples = 2 if features * options["WIDTH"] <= 32 and not options["DOT"] else 1
    return min(8, max(1, options["LANES"] // (32 * samples)))


def _reduced() -> bool:
    """Whether torch's own convolutions, in whose place these are, round float32 to TF32: they do unless told not to."""
    convolutions: Any = torch.backends.cudnn
    return convolutions.conv.fp32_precision == "tf32"


def _packed(weight: Tensor, halves: int, options: dict[str, Any]) -> Tensor:
    """(K, inputs, outputs) -> (K, inputs, halves, WIDTH), filled up with zeros."""
    weight = weight.unflatten(2, (halves, -1))
    missing = options["WIDTH"] - weight.shape[3]
    return (F.pad(weight, (0, missing)) if missing else weight).contiguous()


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _contiguous(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(None if t is None else t.contiguous() for t in tensors)
