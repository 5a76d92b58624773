"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.envelopes.reference` for what they compute."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from nablafx.kernels.envelopes.loops import backward, forward
from nablafx.kernels.memory import array, copied
from nablafx.kernels.threads import share


def levels(z: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
    batch, channels, length = z.shape
    out, last = torch.empty(batch, length, channels), copied(zi)
    share(batch, partial(forward, *(array(t) for t in (z, pole, last, out))))
    return out, last


def levels_backward(
    grad: Tensor, grad_last: Tensor, z: Tensor, pole: Tensor, zi: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of z, pole and zi."""
    grad_z, by_pole, adjoint = torch.empty(z.shape), torch.zeros(zi.shape, dtype=torch.float64), copied(grad_last)
    share(z.shape[0], partial(backward, *(array(t) for t in (grad, z, pole, zi, grad_z, by_pole, adjoint))))
    return grad_z, by_pole.sum(0), adjoint
