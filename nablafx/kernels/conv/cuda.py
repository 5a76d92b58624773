"""Convolution blocks on CUDA, in Triton: see :mod:`nablafx.kernels.conv.reference` for what they compute.

A block's forward pass is one launch, which reads x and writes the block's output. The backward pass finds the
convolution's result again: one launch for its gradient, one for that of x and one for that of the weights.
"""

from __future__ import annotations

from torch import Tensor

from nablafx.kernels.conv.cuda_launch import backward, block_of, forward, gradients, weights_gradient


def convolve(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    return forward(block_of(x, (context, weight, bias, dilation), (None, 1, 0)))[0]


def convolve_backward(
    grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad = grad.contiguous()
    return *gradients(grad, x, context, weight, dilation), grad.sum((0, 2))


def convolve_backward_weights(
    grad: Tensor, x: Tensor, context: Tensor, weight: Tensor, dilation: int
) -> tuple[Tensor, Tensor]:
    grad = grad.contiguous()
    return weights_gradient(grad, x.contiguous(), context, weight, dilation), grad.sum((0, 2))


def finish_tanh(
    z: Tensor, values: Tensor | None, block: int, offset: int, x: Tensor | None, residual: Tensor | None
) -> Tensor:
    finish = block_of(x, None, (values, block, offset), z, residual)
    return forward(finish, tanh=True, beside=residual is not None)[0]


def finish_tanh_backward(
    grad: Tensor,
    z: Tensor,
    values: Tensor | None,
    block: int,
    offset: int,
    x: Tensor | None,
    residual: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    grad_z, sums, _ = backward(block_of(x, None, (values, block, offset), z, residual), grad)
    grad_x = None
    if x is not None and residual is not None:
        grad_x = (grad * residual).unflatten(1, (x.shape[1], -1)).sum(2)
    return grad_z, _of_values(sums, values, 1), grad_x, _of_residual(sums, residual)


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
    finish = block_of(x, None, (values, block, offset), z, gated=True)
    h, s = forward(finish, (mix, mix_bias, skip), beside=x is not None)
    assert s is not None
    return h, s


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
    finish = block_of(x, None, (values, block, offset), z, gated=True)
    grad_z, sums, grad_mix = backward(finish, grad_h, grad_s, (mix, skip))
    grad_x = None if x is None else grad_h.unflatten(1, (x.shape[1], -1)).sum(2)
    return grad_z, _of_values(sums, values, 2), grad_x, grad_mix, *_of_gate(sums)


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
    whole = block_of(x, (context, weight, bias, dilation), (values, block, offset), residual=residual)
    return forward(whole, tanh=True, beside=residual is not None)[0]


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
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of x, context, weight, bias, values and residual."""
    whole = block_of(x, (context, weight, bias, dilation), (values, block, offset), residual=residual)
    grad_z, sums, _ = backward(whole, grad)
    grads = gradients(grad_z, x, context, weight, dilation, None if residual is None else grad, residual)
    return *grads, _of_bias(sums, bias, values, 1), _of_values(sums, values, 1), _of_residual(sums, residual)


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
    whole = block_of(x, (context, weight, bias, dilation), (values, block, offset), gated=True)
    h, s = forward(whole, (mix, mix_bias, skip), beside=with_residual)
    assert s is not None
    return h, s


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
    whole = block_of(x, (context, weight, bias, dilation), (values, block, offset), gated=True)
    grad_z, sums, grad_mix = backward(whole, grad_h, grad_s, (mix, skip))
    grads = gradients(grad_z, x, context, weight, dilation, grad_h if with_residual else None)
    return *grads, _of_bias(sums, bias, values, 2), _of_values(sums, values, 2), grad_mix, *_of_gate(sums)


def _of_values(sums: Tensor, values: Tensor | None, halves: int) -> Tensor | None:
    """The gradient of γ and β, from sums (B, N, rows, width) of which the first rows are those of γ, then β."""
    if values is None:
        return None
    grad = sums[:, :, : 2 * halves].flatten(2).transpose(1, 2)
    return (grad.sum(0, keepdim=True) if values.shape[0] == 1 else grad).contiguous()


def _of_bias(sums: Tensor, bias: Tensor | None, values: Tensor | None, halves: int) -> Tensor | None:
    """γ times the gradient of β: within a block of values, the bias moves z as β moves γ z + β."""
    if bias is None:
        return None
    moved = sums[:, :, halves : 2 * halves].flatten(2).transpose(1, 2)
    return (moved if values is None else moved * values[:, : moved.shape[1]]).sum((0, 2))


def _of_residual(sums: Tensor, residual: Tensor | None) -> Tensor | None:
    return None if residual is None else sums[:, :, 2].sum((0, 1)).unsqueeze(1)


def _of_gate(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of mix_bias and skip."""
    return sums[:, :, 5].sum((0, 1)), sums[:, :, 4].sum((0, 1))
