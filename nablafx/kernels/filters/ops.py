"""The kernels as torch operators: with gradients, and with fakes for torch.compile and torch.export."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.backends import backend_of, load, on_cpu
from nablafx.kernels.filters.reference import CHUNK


def _call(function: str, device: torch.device, *arguments: Any) -> tuple[Tensor, ...]:
    """Run a function of the backend for `device`; one that knows CPUs only gets copies there."""
    name = backend_of(device)
    run = getattr(load("filters", name), function)
    return on_cpu(run, device, *arguments) if name == "numba" else run(*arguments)


@torch.library.custom_op("nablafx::sections", mutates_args=())
def sections(x: Tensor, coefficients: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor, Tensor]:
    """Second-order sections in series: see :func:`nablafx.kernels.filters.reference.sections`.

    The checkpoints are flat, (B, C, M): a dimension that is 1 for short audio would keep torch.export to other lengths.
    """
    y, zf, checkpoints = _call("sections", x.device, x, coefficients, zi, block, offset)
    return y, zf, checkpoints.flatten(2)


@sections.register_fake
def _(x: Tensor, coefficients: Tensor, zi: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, length = x.shape
    chunks = (length + CHUNK - 1) // CHUNK
    kept = zi.new_empty((batch, channels, chunks * coefficients.shape[2] * 2))
    return x.new_empty((batch, channels, length)), zi.new_empty(zi.shape), kept


@torch.library.custom_op("nablafx::sections_backward", mutates_args=())
def _sections_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    coefficients: Tensor,
    checkpoints: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor]:
    states = checkpoints.unflatten(2, (-1, coefficients.shape[2], 2))
    arguments = (grad_y, grad_zf, x, coefficients, states, block, offset)
    return _call("sections_backward", x.device, *arguments)  # type: ignore[return-value]


@_sections_backward.register_fake
def _(grad_y: Tensor, grad_zf: Tensor, x: Tensor, coefficients: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), coefficients.new_empty(coefficients.shape), grad_zf.new_empty(grad_zf.shape)


def _keep_sections(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, coefficients, _, ctx.block, ctx.offset = inputs
    ctx.save_for_backward(x, coefficients, output[2])


def _differentiate_sections(ctx: Any, grad_y: Tensor, grad_zf: Tensor, _: Tensor) -> tuple:
    x, coefficients, checkpoints = ctx.saved_tensors
    grads = _sections_backward(grad_y, grad_zf, x, coefficients, checkpoints, ctx.block, ctx.offset)
    return *grads, None, None


sections.register_autograd(_differentiate_sections, setup_context=_keep_sections)


@torch.library.custom_op("nablafx::envelope", mutates_args=())
def envelope(x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor]:
    """Attack and release follower: see :func:`nablafx.kernels.filters.reference.envelope`."""
    return _call("envelope", x.device, x, attack, release, zi, block, offset)  # type: ignore[return-value]


@envelope.register_fake
def _(x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), zi.new_empty(zi.shape)


@torch.library.custom_op("nablafx::envelope_backward", mutates_args=())
def _envelope_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    attack: Tensor,
    release: Tensor,
    zi: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arguments = (grad_y, grad_zf, x, attack, release, zi, block, offset)
    return _call("envelope_backward", x.device, *arguments)  # type: ignore[return-value]


@_envelope_backward.register_fake
def _(
    grad_y: Tensor, grad_zf: Tensor, x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return tuple(t.new_empty(t.shape) for t in (x, attack, release, zi))  # type: ignore[return-value]


def _keep_envelope(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, attack, release, zi, ctx.block, ctx.offset = inputs
    ctx.save_for_backward(x, attack, release, zi)


def _differentiate_envelope(ctx: Any, grad_y: Tensor, grad_zf: Tensor) -> tuple:
    x, attack, release, zi = ctx.saved_tensors
    grads = _envelope_backward(grad_y, grad_zf, x, attack, release, zi, ctx.block, ctx.offset)
    return *grads, None, None


envelope.register_autograd(_differentiate_envelope, setup_context=_keep_envelope)
