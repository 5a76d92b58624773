"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.conv.reference` for what they compute.

A block makes its convolution again in the backward pass, tile by tile, which takes no more time than to keep it.
"""

from __future__ import annotations

from torch import Tensor

from nablafx.kernels.conv import arrays
from nablafx.kernels.conv.loops import GATE, PLAIN, TANH
from nablafx.kernels.conv.passes import Pass
from nablafx.kernels.conv.steps import Values

Gradients = tuple["Tensor | None", ...]


def convolve(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    return _block(PLAIN, x, context, weight, bias, dilation).forward()[0]


def convolve_backward(grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> Gradients:
    run = _block(PLAIN, x, context, weight, None, dilation)
    by_x, by_context, sums = run.block_back(weight, dilation, context, grad)
    return by_x, by_context, sums.taps(weight), sums.bias()


def convolve_backward_weights(grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> Gradients:
    sums = _block(PLAIN, x, context, weight, None, dilation).weights_back(grad)
    return sums.taps(weight), sums.bias()


def finish_tanh(
    z: Tensor, values: Tensor | None, block: int, offset: int, x: Tensor | None, residual: Tensor | None
) -> Tensor:
    return _finish(TANH, z, values, block, offset, x, residual).forward()[0]


def finish_tanh_backward(
    grad: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    residual: Tensor | None,
) -> Gradients:
    by_z, by_x, sums = _finish(TANH, z, values, block, offset, x, residual).finish_back(grad)
    return by_z, sums.values(), by_x, None if residual is None else sums.residual()


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
    return _finish(GATE, z, values, block, offset, x, None).forward(arrays.mixing(mix, mix_bias, skip))


def finish_gate_backward(
    grad_h: Tensor,
    grad_s: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    mix: Tensor,
    skip: Tensor,
) -> Gradients:
    run = _finish(GATE, z, values, block, offset, x, None)
    by_z, by_x, sums = run.finish_back(grad_h, arrays.mixing_back(mix, skip), grad_s)
    return by_z, sums.values(), by_x, *sums.mix()


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
    held = arrays.values(values, block, offset)
    return _block(TANH, x, context, weight, bias, dilation, held, residual is not None, residual).forward()[0]


def tanh_block_backward(
    grad: Tensor,
    x: Tensor,
    context: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: int,
    values: Tensor | None,
    block: int,
    offset: int,
    residual: Tensor | None,
) -> Gradients:
    held = arrays.values(values, block, offset)
    run = _block(TANH, x, context, weight, bias, dilation, held, residual is not None, residual)
    by_x, by_context, sums = run.block_back(weight, dilation, context, grad)
    by_bias, by_residual = None if bias is None else sums.bias(), None if residual is None else sums.residual()
    return by_x, by_context, sums.taps(weight), by_bias, sums.values(), by_residual


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
    run = _block(GATE, x, context, weight, bias, dilation, arrays.values(values, block, offset), with_residual)
    return run.forward(arrays.mixing(mix, mix_bias, skip))


def gated_block_backward(
    grad_h: Tensor,
    grad_s: Tensor,
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
    skip: Tensor,
) -> Gradients:
    run = _block(GATE, x, context, weight, bias, dilation, arrays.values(values, block, offset), with_residual)
    gate = arrays.mixing_back(mix, skip), grad_s
    by_x, by_context, sums = run.block_back(weight, dilation, context, grad_h, *gate)
    by_bias = None if bias is None else sums.bias()
    return by_x, by_context, sums.taps(weight), by_bias, sums.values(), *sums.mix()


def _block(
    kind: int,
    x: Tensor,
    context: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: int,
    values: Values = arrays.NO_VALUES,
    with_residual: bool = False,
    residual: Tensor | None = None,
) -> Pass:
    rows = weight.shape[0]
    beside = arrays.beside(x if with_residual else None, residual, _outputs(kind, rows))
    taps = arrays.taps(weight, bias, dilation)
    return Pass(kind, arrays.features(x, context), taps, values, beside, (x.shape[0], rows, x.shape[-1]))


def _finish(
    kind: int,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    residual: Tensor | None,
) -> Pass:
    batch, rows, length = z.shape
    beside = arrays.beside(x, residual, _outputs(kind, rows))
    held = arrays.values(values, block, offset)
    return Pass(kind, arrays.features(z), arrays.no_taps(rows), held, beside, (batch, rows, length))


def _outputs(kind: int, rows: int) -> int:
    return rows // 2 if kind == GATE else rows
