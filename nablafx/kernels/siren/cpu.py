"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.siren.reference` for what they compute."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from nablafx.kernels.conv import arrays
from nablafx.kernels.conv.tiles import ROWS
from nablafx.kernels.registers import LANES
from nablafx.kernels.siren import loops
from nablafx.kernels.threads import share


def siren(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    y = torch.empty(x.shape)
    flat = arrays.array(x)
    run = partial(loops.forward, _layers(weights, biases), _height(weights), flat, arrays.array(y))
    share(_jobs(flat), run)
    return y


def siren_backward(grad: Tensor, x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
    """Gradients of x, of all weights and of all biases."""
    grad_x, flat = torch.empty(x.shape), arrays.array(x)
    jobs = _jobs(flat)
    layers = _layers(weights, biases)
    back = tuple(arrays.packed(weight.detach().T, None) for weight in weights)
    columns = [weight.shape[1] + weight.shape[1] % 2 for weight in weights]
    lanes = tuple(
        np.zeros((jobs, len(layer.bias) * count * LANES), np.float32)
        for layer, count in zip(layers, columns, strict=True)
    )
    by_bias = tuple(np.zeros((jobs, len(bias)), np.float32) for bias in biases)
    audio = flat, arrays.array(grad), arrays.array(grad_x)
    share(jobs, partial(loops.backward, layers, back, _height(weights), *audio, lanes, by_bias))
    by_weight = []
    for weight, found in zip(weights, lanes, strict=True):
        sums = np.empty((jobs, found.shape[1] // LANES), np.float32)
        loops.gather(found, sums)
        by_weight.append(arrays.matrix(sums, *weight.shape).contiguous())
    return [grad_x, *by_weight, *(torch.from_numpy(found.sum(0)) for found in by_bias)]


def _layers(weights: list[Tensor], biases: list[Tensor]) -> tuple:
    return tuple(arrays.packed(w.detach(), b) for w, b in zip(weights, biases, strict=True))


def _height(weights: list[Tensor]) -> int:
    """Rows of the widest layer in whole groups, and one more."""
    return max(-(-max(weight.shape) // ROWS) * ROWS for weight in weights) + 1


def _jobs(flat: np.ndarray) -> int:
    return -(-len(flat) // loops.STRETCH)
