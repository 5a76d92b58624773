"""What the kernels compute, in plain torch that autograd can follow: the oracle of the other backends.

Shapes that all backends share:
    x: (B, I, T) features; context: (B, I, (K - 1) dilation), the samples before x[0], also expanded ones.
    weight: (O, I, K), bias: (O) or None; the last tap meets the newest sample.
    z: (B, O, T), what the convolution gives.
    values: (B or 1, 2 O, N), γ and β of each channel, or None: γ = 1, β = 0. Sample t is governed by set
        (t + offset) // block of the N, and `block` FOREVER says that there is one set for all.
    residual: (O, 1), the gain of x beside the activation, or None; x: None where nothing goes beside. Channel o of the
        output has channel o // (O / I) of x beside it.
    mix: (C, C), mix_bias: (C), skip: (C) for z with O = 2 C.
Each *_backward gives the gradients of what it was given tensors of, in the order of the forward function, and None
where None was given.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx.kernels.gradients import gradients_of

FOREVER = 2**30  # samples


def convolve(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """y[n] = bias + Σ_k W_k x[n - dilation (K - 1 - k)]: (B, O, T)."""
    heard = torch.cat([context, x], dim=-1) if context.shape[-1] else x
    return F.conv1d(heard, weight, bias, dilation=dilation)


def convolve_backward(grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int) -> tuple[Tensor, ...]:
    """Gradients of x, context, weight and of a bias."""

    def run(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return convolve(x, context, weight, bias, dilation)

    return gradients_of(run, (x, context, weight, weight.new_zeros(weight.shape[0])), grad)


def convolve_backward_weights(
    grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int
) -> tuple[Tensor, ...]:
    """Those of weight and of a bias alone."""
    return convolve_backward(grad, x, context, weight, dilation)[2:]


def finish_tanh(
    z: Tensor, values: Tensor | None, block: int, offset: int, x: Tensor | None, residual: Tensor | None
) -> Tensor:
    """tanh(γ z + β) + residual x: (B, O, T)."""
    y = torch.tanh(modulate(z, values, block, offset))
    return y if x is None or residual is None else torch.addcmul(y, repeated(x, y), residual)


def finish_tanh_backward(
    grad: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    residual: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of z, values, x and residual."""

    def run(z: Tensor, values: Tensor | None, x: Tensor | None, residual: Tensor | None) -> Tensor:
        return finish_tanh(z, values, block, offset, x, residual)

    return gradients_of(run, (z, values, x, residual), grad)


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
    """h = mix g + mix_bias + x (B, C, T) and s = Σ skip g (B, 1, T) of g = tanh(a) sigmoid(b), [a, b] = γ z + β."""
    signal, gate = modulate(z, values, block, offset).chunk(2, dim=1)
    g = torch.tanh(signal) * torch.sigmoid(gate)
    h, s = F.conv1d(g, mix.unsqueeze(-1), mix_bias), F.conv1d(g, skip.view(1, -1, 1))
    return (h if x is None else h + repeated(x, h)), s


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
) -> tuple[Tensor | None, ...]:
    """Gradients of z, values, x, mix, mix_bias and skip."""

    def run(z: Tensor, values: Tensor | None, x: Tensor | None, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return finish_gate(z, values, block, offset, x, *weights)

    mix_bias = mix.new_zeros(mix.shape[0])
    return gradients_of(run, (z, values, x, mix, mix_bias, skip), grad_h, grad_s)


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
    """finish_tanh(convolve(x))."""
    return finish_tanh(convolve(x, context, weight, bias, dilation), values, block, offset, x, residual)


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
) -> tuple[Tensor | None, ...]:
    """Gradients of x, context, weight, bias, values and residual."""

    def run(
        x: Tensor, context: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor | None, residual: Tensor | None
    ) -> Tensor:
        return tanh_block(x, context, weight, bias, dilation, values, block, offset, residual)

    return gradients_of(run, (x, context, weight, bias, values, residual), grad)


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
    """finish_gate(convolve(x)), with x beside it or without."""
    z = convolve(x, context, weight, bias, dilation)
    return finish_gate(z, values, block, offset, x if with_residual else None, mix, mix_bias, skip)


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
) -> tuple[Tensor | None, ...]:
    """Gradients of x, context, weight, bias, values, mix, mix_bias and skip."""

    def run(
        x: Tensor, context: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor | None, *gate: Tensor
    ) -> tuple[Tensor, Tensor]:
        return gated_block(x, context, weight, bias, dilation, values, block, offset, with_residual, *gate)

    mix_bias = mix.new_zeros(mix.shape[0])
    return gradients_of(run, (x, context, weight, bias, values, mix, mix_bias, skip), grad_h, grad_s)


def modulate(z: Tensor, values: Tensor | None, block: int, offset: int) -> Tensor:
    """γ z + β."""
    if values is None:
        return z
    return by_block(_scale_and_shift, z, block, offset, *values.chunk(2, dim=1))


def _scale_and_shift(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(shift, z, scale)


def by_block(function: Callable[..., Tensor], x: Tensor, block: int, offset: int, *values: Tensor) -> Tensor:
    """function(x, *values) with x (B, C, T) cut into the blocks that values (B, C or 1, N) hold for."""
    if block == FOREVER:
        return function(x, *values)
    blocks, length = values[0].shape[-1], x.shape[-1]
    x = F.pad(x, (offset, blocks * block - offset - length))
    x = function(x.unflatten(-1, (blocks, -1)), *(v.unsqueeze(-1) for v in values)).flatten(-2)
    return x[..., offset : offset + length]


def repeated(x: Tensor, like: Tensor) -> Tensor:
    """x (B, I, T) with every channel as often as makes it fit `like` (B, O, T), or one channel for all."""
    repeats = like.shape[1] // x.shape[1]
    return x.repeat_interleave(repeats, dim=1) if repeats > 1 and x.shape[1] > 1 else x
