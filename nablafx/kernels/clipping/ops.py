"""The clipper as a torch operator: with gradients, and with fakes for torch's tools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.backends import backend_of, on_cpu
from nablafx.kernels.clipping import cpu, reference


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


def _call(function: str, device: torch.device, *arguments: Any) -> tuple[Tensor, ...]:
    """In plain torch where that is asked for; else the loops, of what is elsewhere on a copy."""
    if backend_of(device) == "torch":
        return getattr(reference, function)(*arguments)
    return on_cpu(getattr(cpu, function), device, *arguments)


@torch.library.custom_op("nablafx::clip_fed", mutates_args=())
def clip_fed(
    x: Tensor, start: Tensor, settings: Tensor, block: int, offset: int, antialias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`nablafx.kernels.clipping.reference.clip_fed`."""
    return _call("clip_fed", x.device, x, start, settings, block, offset, antialias)  # type: ignore[return-value]


@clip_fed.register_fake
def _(x: Tensor, start: Tensor, settings: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), start.new_empty(len(x), 3), settings.new_empty(len(x), 2, x.shape[-1])


@torch.library.custom_op("nablafx::clip_fed_backward", mutates_args=())
def _clip_fed_backward(
    grad_y: Tensor,
    grad_end: Tensor,
    x: Tensor,
    start: Tensor,
    settings: Tensor,
    y: Tensor,
    kept: Tensor,
    block: int,
    offset: int,
    antialias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    arguments = (grad_y, grad_end, x, start, settings, y, kept, block, offset, antialias)
    return _call("clip_fed_backward", x.device, *arguments)  # type: ignore[return-value]


@_clip_fed_backward.register_fake
def _(
    grad_y: Tensor, grad_end: Tensor, x: Tensor, start: Tensor, settings: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), start.new_empty(start.shape), settings.new_empty(settings.shape)


def _keep_fed(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, start, settings, *ctx.others = inputs
    y, _, kept = output
    ctx.save_for_backward(x, start, settings, y, kept)
    ctx.mark_non_differentiable(kept)


def _differentiate_fed(ctx: Any, grad_y: Tensor, grad_end: Tensor, _: Tensor) -> tuple:
    grads = _clip_fed_backward(grad_y, grad_end, *ctx.saved_tensors, *ctx.others)
    return *grads, None, None, None


clip_fed.register_autograd(_differentiate_fed, setup_context=_keep_fed)
