"""Whole blocks as torch operators: with gradients, and with fakes for torch's tools.

They keep what they are given, and find the convolution's result again in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.backends import backend_of, load


def run(function: str, x: Tensor, *arguments: Any) -> Any:
    return getattr(load("conv", backend_of(x.device)), function)(*arguments)


@torch.library.custom_op("nablafx::tanh_block", mutates_args=())
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
    """finish_tanh(convolve(x)): see :mod:`nablafx.kernels.conv.reference`."""
    return run("tanh_block", x, x, context, weight, bias, dilation, values, block, offset, residual)


@tanh_block.register_fake
def _(x: Tensor, context: Tensor, weight: Tensor, *others: Any) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], x.shape[2])


@torch.library.custom_op("nablafx::tanh_block_backward", mutates_args=())
def _tanh_block_backward(
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
) -> list[Tensor]:
    arguments = (grad, x, context, weight, bias, dilation, values, block, offset, residual)
    return given(x, *run("tanh_block_backward", x, *arguments))


@_tanh_block_backward.register_fake
def _(
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
) -> list[Tensor]:
    return like(x, context, weight, bias, values, residual)


def _keep_tanh_block(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, context, weight, bias, ctx.dilation, values, ctx.block, ctx.offset, residual = inputs
    ctx.save_for_backward(x, context, weight, bias, values, residual)


def _differentiate_tanh_block(ctx: Any, grad: Tensor) -> tuple:
    x, context, weight, bias, values, residual = ctx.saved_tensors
    arguments = (x, context, weight, bias, ctx.dilation, values, ctx.block, ctx.offset, residual)
    *of_convolution, of_values, of_residual = asked(ctx.saved_tensors, _tanh_block_backward(grad, *arguments))
    return *of_convolution, None, of_values, None, None, of_residual


tanh_block.register_autograd(_differentiate_tanh_block, setup_context=_keep_tanh_block)


@torch.library.custom_op("nablafx::gated_block", mutates_args=())
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
    """finish_gate(convolve(x)): see :mod:`nablafx.kernels.conv.reference`."""
    arguments = (x, context, weight, bias, dilation, values, block, offset, with_residual, mix, mix_bias, skip)
    return run("gated_block", x, *arguments)


@gated_block.register_fake
def _(
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
    *others: Any,
) -> tuple[Tensor, Tensor]:
    batch, _, length = x.shape
    return x.new_empty(batch, mix.shape[0], length), x.new_empty(batch, 1, length)


@torch.library.custom_op("nablafx::gated_block_backward", mutates_args=())
def _gated_block_backward(
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
) -> list[Tensor]:
    arguments = (grad_h, grad_s, x, context, weight, bias, dilation, values, block, offset, with_residual, mix, skip)
    return given(x, *run("gated_block_backward", x, *arguments))


@_gated_block_backward.register_fake
def _(
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
) -> list[Tensor]:
    return like(x, context, weight, bias, values, mix, skip, skip)


def _keep_gated_block(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, context, weight, bias, ctx.dilation, values, ctx.block, ctx.offset, ctx.with_residual, mix, _, skip = inputs
    ctx.save_for_backward(x, context, weight, bias, values, mix, skip)


def _differentiate_gated_block(ctx: Any, grad_h: Tensor, grad_s: Tensor) -> tuple:
    x, context, weight, bias, values, mix, skip = ctx.saved_tensors
    arguments = (x, context, weight, bias, ctx.dilation, values, ctx.block, ctx.offset, ctx.with_residual, mix, skip)
    found = _gated_block_backward(grad_h, grad_s, *arguments)
    *of_convolution, of_values, of_mix, of_mix_bias, of_skip = asked((*ctx.saved_tensors, skip), found)
    return *of_convolution, None, of_values, None, None, None, of_mix, of_mix_bias, of_skip


gated_block.register_autograd(_differentiate_gated_block, setup_context=_keep_gated_block)


def given(like: Tensor, *grads: Tensor | None) -> list[Tensor]:
    """What an operator may return: an empty tensor for each gradient that there is not."""
    return [like.new_empty(0) if grad is None else grad for grad in grads]


def like(*tensors: Tensor | None) -> list[Tensor]:
    some = next(t for t in tensors if t is not None)
    return given(some, *(None if t is None else t.new_empty(t.shape) for t in tensors))


def asked(inputs: tuple[Tensor | None, ...], grads: list[Tensor]) -> list[Tensor | None]:
    return [None if tensor is None else grad for tensor, grad in zip(inputs, grads, strict=True)]
