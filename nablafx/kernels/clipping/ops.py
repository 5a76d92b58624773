"""The clipper as a torch operator: with gradients, and with fakes for torch's tools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.clipping import cpu


@torch.library.custom_op("nablafx::clip", mutates_args=())
def clip(x: Tensor, before: Tensor, settings: Tensor, block: int, offset: int) -> Tensor:
    """See :mod:`nablafx.kernels.clipping.reference`; settings are float64."""
    return cpu.clip(x, before, settings, block, offset)


@clip.register_fake
def _(x: Tensor, *others: Any) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("nablafx::clip_backward", mutates_args=())
def _clip_backward(
    grad: Tensor, x: Tensor, before: Tensor, settings: Tensor, block: int, offset: int
) -> tuple[Tensor, Tensor, Tensor]:
    return cpu.clip_backward(grad, x, before, settings, block, offset)


@_clip_backward.register_fake
def _(grad: Tensor, x: Tensor, before: Tensor, settings: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), before.new_empty(before.shape), settings.new_empty(settings.shape)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, before, settings, ctx.block, ctx.offset = inputs
    ctx.save_for_backward(x, before, settings)


def _differentiate(ctx: Any, grad: Tensor) -> tuple:
    return *_clip_backward(grad, *ctx.saved_tensors, ctx.block, ctx.offset), None, None


clip.register_autograd(_differentiate, setup_context=_keep)
