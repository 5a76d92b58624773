"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.clipping.reference` for what they compute."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from nablafx.kernels.clipping import loops
from nablafx.kernels.memory import array
from nablafx.kernels.threads import share


def clip(x: Tensor, before: Tensor, settings: Tensor, block: int, offset: int) -> Tensor:
    y = torch.empty(x.shape)
    arrays = (array(x)[:, 0], array(before)[:, 0], array(settings), array(y)[:, 0])
    share(len(x), partial(loops.forward, *arrays, block, offset))
    return y


def clip_backward(
    grad: Tensor, x: Tensor, before: Tensor, settings: Tensor, block: int, offset: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, before and settings."""
    grad_x, grad_before = torch.empty(x.shape), torch.empty(before.shape)
    grads = torch.zeros(len(x), *settings.shape[1:], dtype=torch.float64)
    given = (array(grad)[:, 0], array(x)[:, 0], array(before)[:, 0], array(settings))
    arrays = (*given, array(grad_x)[:, 0], array(grad_before)[:, 0], array(grads))
    share(len(x), partial(loops.backward, *arrays, block, offset))
    return grad_x, grad_before, grads.sum(0, keepdim=True) if len(settings) == 1 else grads


def clip_fed(
    x: Tensor, start: Tensor, settings: Tensor, block: int, offset: int, antialias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the state at the end, and e and c before each sample."""
    y, kept = torch.empty(x.shape, dtype=x.dtype), torch.empty(len(x), 2, x.shape[-1], dtype=torch.float64)
    end = torch.empty(len(x), 3, dtype=torch.float64)
    arrays = (array(x)[:, 0], array(start), array(settings), array(y)[:, 0], array(kept), array(end))
    share(-(-len(x) // loops.LANES), partial(loops.fed_forward, *arrays, antialias, block, offset))
    return y, end, kept


def clip_fed_backward(
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
    """Gradients of x, start and settings."""
    grad_x, grad_start = torch.empty(x.shape, dtype=x.dtype), torch.empty(start.shape, dtype=torch.float64)
    grads = torch.zeros(len(x), *settings.shape[1:], dtype=torch.float64)
    given = (array(grad_y)[:, 0], array(grad_end), array(x)[:, 0], array(start), array(settings))
    arrays = (*given, array(y)[:, 0], array(kept), array(grad_x)[:, 0], array(grad_start), array(grads))
    share(-(-len(x) // loops.LANES), partial(loops.fed_backward, *arrays, antialias, block, offset))
    return grad_x, grad_start, grads.sum(0, keepdim=True) if len(settings) == 1 else grads
