"""Small cases for every function of the family: see :mod:`nablafx.kernels.proof`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nablafx.kernels.conv.reference import FOREVER

Call = tuple[str, tuple[Any, ...]]


class Sizes(NamedTuple):
    """What a case is made of.

    block: samples of a set of values, or 0 for one set for ever; `items`: how many items have sets of their own.
    bare: neither bias nor values nor residual, and a context that stands still.
    """

    batch: int
    inputs: int
    width: int
    length: int
    taps: int
    dilation: int
    block: int = 0
    offset: int = 0
    items: int = 1
    bare: bool = False


# tiles in part, runs that are a dilation apart, a context that is heard, blocks of values; as wide as is compiled alike
# for the published nets
CASES = (Sizes(2, 11, 11, 640, 3, 32), Sizes(2, 11, 11, 201, 2, 3, block=100, offset=25, items=2))


def calls(cases: tuple[Sizes, ...] = CASES) -> Iterator[Call]:
    """Functions of the backends by name and their arguments, in float32 on the CPU."""
    for sizes in cases:
        for gated in (False, True):
            yield from _calls(sizes, gated)


def _calls(sizes: Sizes, gated: bool) -> Iterator[Call]:
    batch, inputs, width, length, taps, dilation, block, offset, items, bare = sizes
    generator, outputs = torch.Generator().manual_seed(0), 2 * width if gated else width

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    reach, sets = (taps - 1) * dilation, -(-(length + offset) // block) if block else 1
    context = noise(batch, inputs, 1).expand(-1, -1, reach) if bare else noise(batch, inputs, reach)
    x, weight, z = noise(batch, inputs, length), noise(outputs, inputs, taps) / taps, noise(batch, outputs, length)
    held = (None if bare else noise(items, 2 * outputs, sets), block or FOREVER, offset)
    past = (x, context, weight, None if bare else noise(outputs), dilation, *held)
    grad, grad_s, grad_z = noise(batch, width, length), noise(batch, 1, length), noise(batch, outputs, length)
    yield "convolve", past[:5]
    yield "convolve_backward", (grad_z, x, context, weight, dilation)
    yield "convolve_backward_weights", (grad_z, x, context, weight, dilation)
    if gated:
        beside, (mix, mix_bias, skip) = None if bare else x, (noise(width, width), noise(width), noise(width))
        yield "finish_gate", (z, *held, beside, mix, mix_bias, skip)
        yield "finish_gate_backward", (grad, grad_s, z, *held, beside, mix, skip)
        yield "gated_block", (*past, not bare, mix, mix_bias, skip)
        yield "gated_block_backward", (grad, grad_s, *past, not bare, mix, skip)
    else:
        residual = None if bare else noise(width, 1)
        yield "finish_tanh", (z, *held, None if bare else x, residual)
        yield "finish_tanh_backward", (grad, z, *held, None if bare else x, residual)
        yield "tanh_block", (*past, residual)
        yield "tanh_block_backward", (grad, *past, residual)
