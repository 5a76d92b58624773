"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.filters.reference` for what they compute."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from nablafx.kernels.filters.loops import LANES, backward, follow, follow_backward, forward
from nablafx.kernels.filters.reference import CHUNK
from nablafx.kernels.memory import array, copied
from nablafx.kernels.threads import share


def sections(x: Tensor, coefficients: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, length = x.shape
    zf = copied(zi)
    checkpoints = zi.new_empty(batch, channels, -(-length // CHUNK), *zi.shape[2:])
    y = torch.empty(x.shape, dtype=x.dtype)
    arrays = (_rows(x), array(coefficients), _rows(zf), _rows(checkpoints), _rows(y))
    share(-(-batch * channels // LANES), partial(forward, *arrays, block, offset, channels, CHUNK))
    return y, zf, checkpoints


def sections_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    coefficients: Tensor,
    checkpoints: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, _ = x.shape
    grad_x = torch.empty(x.shape, dtype=x.dtype)
    grad_zi = copied(grad_zf)
    grads = torch.zeros(batch * channels, *coefficients.shape[1:], dtype=torch.float64)
    given = (_rows(grad_y), _rows(x), array(coefficients), _rows(checkpoints))
    arrays = (*given, _rows(grad_x), array(grads), _rows(grad_zi))
    share(-(-batch * channels // LANES), partial(backward, *arrays, block, offset, channels, CHUNK))
    shared = grads.view(coefficients.shape[0], -1, *coefficients.shape[1:]).sum(1)
    return grad_x, shared, grad_zi


def envelope(x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor]:
    y = torch.empty(x.shape, dtype=x.dtype)
    zf = copied(zi)
    arrays = (_rows(x), array(attack), array(release), array(zf).reshape(-1), _rows(y))
    share(x.shape[0] * x.shape[1], partial(follow, *arrays, block, offset, x.shape[1]))
    return y, zf


def envelope_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    attack: Tensor,
    release: Tensor,
    zi: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = x.shape[0] * x.shape[1]
    grad_x = torch.empty(x.shape, dtype=x.dtype)
    grad_zi = copied(grad_zf)
    grads = torch.zeros(2, rows, attack.shape[1], dtype=torch.float64)
    given = (_rows(grad_y), _rows(x), array(attack), array(release), array(zi).reshape(-1))
    arrays = (*given, _rows(grad_x), array(grads), array(grad_zi).reshape(-1))
    share(rows, partial(follow_backward, *arrays, block, offset, x.shape[1]))
    by_attack, by_release = (g.view(attack.shape[0], -1, attack.shape[1]).sum(1) for g in grads)
    return grad_x, by_attack, by_release, grad_zi


def _rows(tensor: Tensor) -> np.ndarray:
    """(B, C, ...) as (B C, ...)."""
    return array(tensor).reshape(-1, *tensor.shape[2:])
