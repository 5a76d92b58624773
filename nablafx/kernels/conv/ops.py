"""A convolution and what becomes of it as torch operators: with gradients, and with fakes for torch's tools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.conv.fused import asked, given, like, run


@torch.library.custom_op("nablafx::convolve", mutates_args=())
def convolve(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """See :mod:`nablafx.kernels.conv.reference`, as for all of these."""
    return run("convolve", x, x, context, weight, bias, dilation)


@convolve.register_fake
def _(x: Tensor, context: Tensor, weight: Tensor, *others: Any) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], x.shape[2])


@torch.library.custom_op("nablafx::convolve_backward", mutates_args=())
def _convolve_backward(grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> list[Tensor]:
    return list(run("convolve_backward", x, grad, x, context, weight, dilation))


@_convolve_backward.register_fake
def _(grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> list[Tensor]:
    return like(x, context, weight, weight[:, 0, 0])


@torch.library.custom_op("nablafx::convolve_backward_weights", mutates_args=())
def _convolve_backward_weights(grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> list[Tensor]:
    return list(run("convolve_backward_weights", x, grad, x, context, weight, dilation))


@_convolve_backward_weights.register_fake
def _(grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> list[Tensor]:
    return like(weight, weight[:, 0, 0])


def _keep_convolve(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, context, weight, bias, ctx.dilation = inputs
    ctx.with_bias = bias is not None
    ctx.save_for_backward(x, context, weight)


def _differentiate_convolve(ctx: Any, grad: Tensor) -> tuple:
    of_x, of_context = None, None
    if any(ctx.needs_input_grad[:2]):
        of_x, of_context, of_weight, of_bias = _convolve_backward(grad, *ctx.saved_tensors, ctx.dilation)
    else:
        # a first layer hears audio, which learns nothing
        of_weight, of_bias = _convolve_backward_weights(grad, *ctx.saved_tensors, ctx.dilation)
    return of_x, of_context, of_weight, of_bias if ctx.with_bias else None, None


convolve.register_autograd(_differentiate_convolve, setup_context=_keep_convolve)


@torch.library.custom_op("nablafx::finish_tanh", mutates_args=())
def finish_tanh(
    z: Tensor, values: Tensor | None, block: int, offset: int, x: Tensor | None, residual: Tensor | None
) -> Tensor:
    return run("finish_tanh", z, z, values, block, offset, x, residual)


@finish_tanh.register_fake
def _(z: Tensor, *others: Any) -> Tensor:
    return z.new_empty(z.shape)


@torch.library.custom_op("nablafx::finish_tanh_backward", mutates_args=())
def _finish_tanh_backward(
    grad: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    residual: Tensor | None,
) -> list[Tensor]:
    return given(z, *run("finish_tanh_backward", z, grad, z, values, block, offset, x, residual))


@_finish_tanh_backward.register_fake
def _(
    grad: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    residual: Tensor | None,
) -> list[Tensor]:
    return like(z, values, x, residual)


def _keep_finish_tanh(ctx: Any, inputs: tuple, output: Tensor) -> None:
    z, values, ctx.block, ctx.offset, x, residual = inputs
    ctx.save_for_backward(z, values, x, residual)


def _differentiate_finish_tanh(ctx: Any, grad: Tensor) -> tuple:
    z, values, x, residual = ctx.saved_tensors
    found = _finish_tanh_backward(grad, z, values, ctx.block, ctx.offset, x, residual)
    of_z, of_values, of_x, of_residual = asked(ctx.saved_tensors, found)
    return of_z, of_values, None, None, of_x, of_residual


finish_tanh.register_autograd(_differentiate_finish_tanh, setup_context=_keep_finish_tanh)


@torch.library.custom_op("nablafx::finish_gate", mutates_args=())
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
    return run("finish_gate", z, z, values, block, offset, x, mix, mix_bias, skip)


@finish_gate.register_fake
def _(
    z: Tensor, values: Tensor | None, block: int, offset: int, x: Tensor | None, mix: Tensor, *others: Any
) -> tuple[Tensor, Tensor]:
    batch, _, length = z.shape
    return z.new_empty(batch, mix.shape[0], length), z.new_empty(batch, 1, length)


@torch.library.custom_op("nablafx::finish_gate_backward", mutates_args=())
def _finish_gate_backward(
    grad_h: Tensor,
    grad_s: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    mix: Tensor,
    skip: Tensor,
) -> list[Tensor]:
    return given(z, *run("finish_gate_backward", z, grad_h, grad_s, z, values, block, offset, x, mix, skip))


@_finish_gate_backward.register_fake
def _(
    grad_h: Tensor,
    grad_s: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    mix: Tensor,
    skip: Tensor,
) -> list[Tensor]:
    return like(z, values, x, mix, skip, skip)


def _keep_finish_gate(ctx: Any, inputs: tuple, output: tuple) -> None:
    z, values, ctx.block, ctx.offset, x, mix, _, skip = inputs
    ctx.save_for_backward(z, values, x, mix, skip)


def _differentiate_finish_gate(ctx: Any, grad_h: Tensor, grad_s: Tensor) -> tuple:
    z, values, x, mix, skip = ctx.saved_tensors
    found = _finish_gate_backward(grad_h, grad_s, z, values, ctx.block, ctx.offset, x, mix, skip)
    of_z, of_values, of_x, *of_weights = asked((*ctx.saved_tensors, skip), found)
    return of_z, of_values, None, None, of_x, *of_weights


finish_gate.register_autograd(_differentiate_finish_gate, setup_context=_keep_finish_gate)
