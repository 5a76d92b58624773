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
