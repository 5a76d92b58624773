"""The kernels as torch operators with gradients, and the choice between them and plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.eager import runs_compiled
from nablafx.kernels.envelopes import cpu, reference


def levels(z: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`nablafx.kernels.envelopes.reference.levels`."""
    return _levels(z, pole, zi) if runs_compiled(z) else reference.levels(z, pole, zi)


@torch.library.custom_op("nablafx::levels", mutates_args=())
def _levels(z: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
    return cpu.levels(z, pole, zi)


@_levels.register_fake
def _(z: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
    batch, channels, length = z.shape
    return z.new_empty(batch, length, channels), zi.new_empty(zi.shape)


@torch.library.custom_op("nablafx::levels_backward", mutates_args=())
def _levels_backward(
    grad: Tensor, grad_last: Tensor, z: Tensor, pole: Tensor, zi: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return cpu.levels_backward(grad, grad_last, z, pole, zi)


@_levels_backward.register_fake
def _(grad: Tensor, grad_last: Tensor, z: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(t.new_empty(t.shape) for t in (z, pole, zi))  # type: ignore[return-value]


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor, grad_last: Tensor) -> tuple:
    return _levels_backward(grad, grad_last, *ctx.saved_tensors)


_levels.register_autograd(_differentiate, setup_context=_keep)
