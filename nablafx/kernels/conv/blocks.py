"""The functions of the family: by operators where those may run, and else in plain torch, which autograd follows."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from nablafx.kernels.conv import fused, ops, reference
from nablafx.kernels.eager import runs_on_device

# products: a CPU has done fewer in plain torch before a compiled loop has begun
_FEW = 1_000_000
_BENDING = 50  # in products


def convolve(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """See :mod:`nablafx.kernels.conv.reference`, as for all of these."""
    run = _choice(ops, weight.numel(), x, context, weight, bias)
    return run.convolve(x, context, weight, bias, dilation)


def finish_tanh(
    z: Tensor, values: Tensor | None, block: int, offset: int, x: Tensor | None, residual: Tensor | None
) -> Tensor:
    run = _choice(ops, _BENDING * z.shape[1], z, values, x, residual)
    return run.finish_tanh(z, values, block, offset, x, residual)


def finish_gate(
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    mix: Tensor,
    mix_bias: Tensor,
    skip: Tensor,
) -> tuple[Tensor, Tensor]:
    run = _choice(ops, _BENDING * z.shape[1], z, values, x, mix, mix_bias, skip)
    return run.finish_gate(z, values, block, offset, x, mix, mix_bias, skip)


def tanh_block(
    x: Tensor,
    context: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: int,
    values: Tensor | None,
    block: int,
    offset: int,
    residual: Tensor | None,
) -> Tensor:
    run = _choice(fused, weight.numel(), x, context, weight, bias, values, residual)
    return run.tanh_block(x, context, weight, bias, dilation, values, block, offset, residual)


def gated_block(
    x: Tensor,
    context: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: int,
    values: Tensor | None,
    block: int,
    offset: int,
    with_residual: bool,
    mix: Tensor,
    mix_bias: Tensor,
    skip: Tensor,
) -> tuple[Tensor, Tensor]:
    run = _choice(fused, weight.numel(), x, context, weight, bias, values, mix, mix_bias, skip)
    return run.gated_block(
        x, context, weight, bias, dilation, values, block, offset, with_residual, mix, mix_bias, skip
    )


def _choice(operators: ModuleType, products: int, x: Tensor, *others: Tensor | None) -> ModuleType:
    """The operators, or the reference where they do not fit; products: of a sample of x."""
    if not runs_on_device("conv", x, *(t for t in others if t is not None)):
        return reference
    # asked last: to an exporter the length is a symbol, and would be bound by this
    many = x.device.type != "cpu" or x.shape[0] * x.shape[-1] * products >= _FEW
    return operators if many else reference
