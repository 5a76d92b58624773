"""A network of sines as a torch operator: with gradients, and with fakes for torch's tools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.siren import cpu


@torch.library.custom_op("nablafx::siren", mutates_args=())
def siren(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """See :mod:`nablafx.kernels.siren.reference`."""
    return cpu.siren(x, weights, biases)


@siren.register_fake
def _(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("nablafx::siren_backward", mutates_args=())
def _siren_backward(grad: Tensor, x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
    return cpu.siren_backward(grad, x, weights, biases)


@_siren_backward.register_fake
def _(grad: Tensor, x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
    return [t.new_empty(t.shape) for t in (x, *weights, *biases)]


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, weights, biases = inputs
    ctx.depth = len(weights)
    ctx.save_for_backward(x, *weights, *biases)


def _differentiate(ctx: Any, grad: Tensor) -> tuple:
    x, *parameters = ctx.saved_tensors
    weights, biases = parameters[: ctx.depth], parameters[ctx.depth :]
    of_x, *found = _siren_backward(grad, x, weights, biases)
    return of_x, found[: ctx.depth], found[ctx.depth :]


siren.register_autograd(_differentiate, setup_context=_keep)
