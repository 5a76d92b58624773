"""Tensors as the loops on a CPU want them, and what the loops give as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nablafx.kernels import memory
from nablafx.kernels.conv.loops import STRETCH, Sums
from nablafx.kernels.conv.steps import Beside, Values
from nablafx.kernels.conv.tiles import ROWS, Features, Weights

_NOTHING = np.zeros(1, np.float32)


def array(tensor: Tensor) -> np.ndarray:
    """Flat."""
    return memory.array(tensor).reshape(-1)


def features(x: Tensor, context: Tensor | None = None) -> Features:
    _, channels, length = x.shape
    if context is None or not context.numel():
        return bare(array(x), channels, length)
    span = 1 + sum((size - 1) * step for size, step in zip(context.shape, context.stride(), strict=True))
    before = context.detach().as_strided((span,), (1,)).numpy()
    by_item, by_channel, by_sample = context.stride()
    return Features(array(x), channels, length, before, (by_item, by_channel, by_sample), context.shape[-1])


def bare(x: np.ndarray, channels: int, length: int) -> Features:
    """Zeros come before them."""
    return Features(x, channels, length, _NOTHING, (0, 0, 0), 0)


def taps(weight: Tensor, bias: Tensor | None, dilation: int) -> Weights:
    """Of a convolution."""
    matrix = weight.detach().transpose(1, 2).flatten(1)
    return packed(matrix, bias, weight.shape[-1], dilation)


def taps_back(weight: Tensor, dilation: int) -> Weights:
    """Of the convolution that takes gradients back to the features."""
    return packed(weight.detach().flip(-1).permute(1, 2, 0).flatten(1), None, weight.shape[-1], dilation)


def no_taps(rows: int) -> Weights:
    return packed(torch.zeros(rows, 0), None, 0, 1)


def mixing(mix: Tensor, bias: Tensor, skip: Tensor) -> Weights:
    """From what is gated to h and the skips."""
    return packed(torch.cat([mix.detach(), skip.detach().unsqueeze(0)]), bias, 1, 1)


def mixing_back(mix: Tensor, skip: Tensor) -> Weights:
    """From the gradients of h and of the skips to that of what is gated."""
    return packed(torch.cat([mix.detach().T, skip.detach().unsqueeze(1)], dim=1), None, 1, 1)


def packed(matrix: Tensor, bias: Tensor | None, taps: int = 1, dilation: int = 1) -> Weights:
    """Of a product."""
    rows, columns = matrix.shape
    groups = -(-rows // ROWS)
    filled, biases = np.zeros((groups * ROWS, columns), np.float32), np.zeros(groups * ROWS, np.float32)
    filled[:rows] = matrix.numpy()
    if bias is not None:
        biases[: len(bias)] = bias.detach().numpy()
    filled = filled.reshape(groups, ROWS, columns).transpose(0, 2, 1)
    return Weights(np.ascontiguousarray(filled).reshape(-1), biases, rows, taps, dilation)


NO_WEIGHTS = no_taps(0)


NO_VALUES = Values(_NOTHING, 0, 1, 1, 0)


def values(given: Tensor | None, block: int, offset: int) -> Values:
    if given is None:
        return NO_VALUES
    return Values(array(given), given.shape[0], given.shape[-1], block, offset)


def beside(x: Tensor | None, gain: Tensor | None, rows: int) -> Beside:
    """gain None: one."""
    gains = np.ones(rows, np.float32) if gain is None else array(gain)
    return Beside(_NOTHING, 0, gains) if x is None else Beside(array(x), x.shape[1], gains)


def empty_sums(jobs: int, conv: Weights, columns: int, given: Values, length: int, mixed: int) -> Sums:
    """For the convolution's columns, and for the gate's where there are `mixed` channels."""
    kept = (min(STRETCH, length) - 1) // given.block + 2 if given.items else 1
    by_mix = -(-(mixed + 1) // ROWS) * _even(mixed) * ROWS
    sizes = (len(conv.bias) * _even(columns), conv.rows, 2 * conv.rows * kept, conv.rows, by_mix, mixed)
    return Sums(*(np.zeros((jobs, size), np.float32) for size in sizes))


def matrix(sums: np.ndarray, rows: int, columns: int) -> Tensor:
    """The gradient of a matrix (rows, columns) from the sums of the jobs."""
    added = sums.sum(0).reshape(-1, _even(columns), ROWS).transpose(0, 2, 1).reshape(-1, _even(columns))
    return torch.from_numpy(added[:rows, :columns])


def by_values(sums: Sums, given: Values, rows: int, length: int) -> Tensor:
    """The gradient of γ and β, (items, 2 rows, sets); a job has sums of the blocks that its stretch touches."""
    jobs = -(-length // STRETCH)
    grad = np.zeros((given.items, 2 * rows, given.sets), np.float32)
    for job, found in enumerate(sums.values):
        first = (job % jobs * STRETCH + given.offset) // given.block
        into = grad[min(job // jobs, given.items - 1), :, first:]
        part = found.reshape(2 * rows, -1)[:, : into.shape[-1]]
        into[:, : part.shape[-1]] += part
    return torch.from_numpy(grad)


def _even(columns: int) -> int:
    return columns + columns % 2
