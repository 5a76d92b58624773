"""The kernels as torch operators with gradients, and the choice between them and plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.eager import runs_compiled
from nablafx.kernels.recurrent import cpu, reference


def lstm(x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer: see :func:`nablafx.kernels.recurrent.reference.lstm`."""
    arguments = (x, h, c, w_ih, w_hh, bias)
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # torch has one of less precision only for processors with AVX-512, and ours is faster
        with torch.autocast("cpu", enabled=False):
            return lstm(*(a if a.dtype == torch.float64 else a.float() for a in arguments))
    if not runs_compiled(*arguments):
        return reference.lstm(*arguments)
    learns = torch.is_grad_enabled() and any(a.requires_grad for a in arguments)
    return _lstm(*arguments, learns)[:3]


@torch.library.custom_op("nablafx::lstm_layer", mutates_args=())
def _lstm(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, learns: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, h, c, and where it `learns` the c of every step, (B, T, U, LANES) as in `loops`."""
    return cpu.lstm(x, h, c, w_ih, w_hh, bias, learns)


@_lstm.register_fake
def _(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, learns: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, length, _ = x.shape
    kept = x.new_empty(cpu.kept_shape(batch, length if learns else 1, h.shape[1]))
    return x.new_empty(batch, length, h.shape[1]), h.new_empty(h.shape), c.new_empty(c.shape), kept


@torch.library.custom_op("nablafx::lstm_layer_backward", mutates_args=())
def _lstm_backward(
    grad_y: Tensor,
    grad_h: Tensor,
    grad_c: Tensor,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias: Tensor,
    y: Tensor,
    kept: Tensor,
    by_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x (unless `by_x`, of no samples), h, c, w_ih, w_hh and the bias."""
    return cpu.lstm_backward(grad_y, grad_h, grad_c, x, h, c, w_ih, w_hh, bias, y, kept, by_x)


@_lstm_backward.register_fake
def _(
    grad_y: Tensor,
    grad_h: Tensor,
    grad_c: Tensor,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias: Tensor,
    y: Tensor,
    kept: Tensor,
    by_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_x = x.new_empty(x.shape[0], x.shape[1] if by_x else 0, x.shape[2])
    return grad_x, *(t.new_empty(t.shape) for t in (h, c, w_ih, w_hh, bias))  # type: ignore[return-value]


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    *given, learns = inputs
    y, _, _, kept = output
    if not learns:
        raise ValueError("nablafx::lstm_layer: gradients are wanted of a call that kept nothing for them")
    # gradients of nothing would be zeros of the size of what is kept
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*given, y, kept)


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None, _: None) -> tuple:
    x, h, c, w_ih, w_hh, bias, y, kept = ctx.saved_tensors
    given = ((grad_y, y), (grad_h, h), (grad_c, c))
    grads = [torch.zeros_like(of) if grad is None else grad for grad, of in given]
    by_x = ctx.needs_input_grad[0]
    grad_x, *others = _lstm_backward(*grads, x, h, c, w_ih, w_hh, bias, y, kept, by_x)
    return grad_x if by_x else None, *others, None


_lstm.register_autograd(_differentiate, setup_context=_keep)
