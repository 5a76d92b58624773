"""The spectral distance on a CPU, compiled by numba: see :mod:`nablafx.kernels.spectra.reference` for what it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nablafx import processes
from nablafx.kernels.spectra import loops
from nablafx.kernels.spectra.loops import SEGMENT
from nablafx.kernels.threads import share

# parts that each resolution is cut into for threads: all of them at once, for each has other costs
_SHARES = 64


class _Resolution(NamedTuple):
    """Arguments of the loops: see there."""

    window: np.ndarray
    hop: int
    lead: int
    frames: int
    tables: tuple[np.ndarray, ...]
    by_two: bool
    sums: np.ndarray
    parts: np.ndarray

    def total(self, rows: int) -> np.ndarray:
        """Its row of what is measured."""
        return np.append(self.sums.sum(0), rows * self.frames * (len(self.tables[0]) + 1))


def measure(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    with_gradient: bool,
    joined: bool = False,
) -> tuple[Tensor, Tensor]:
    audio = [track.detach().contiguous().numpy() for track in (prediction, target)]
    sizes = zip(windows, fft_sizes, hop_sizes, strict=True)
    resolutions = [_resolution(*size, prediction.shape, with_gradient) for size in sizes]
    share(_SHARES, partial(_measure, audio, resolutions))
    gradient = prediction.new_zeros(prediction.shape) if with_gradient else prediction.new_empty(0)
    sums = torch.from_numpy(np.stack([one.total(len(prediction)) for one in resolutions]))
    sums = processes.summed(sums) if joined else sums
    if with_gradient:
        weight = (processes.count() if joined else 1) / len(resolutions)
        scales = [_scale(row, weight) for row in sums.tolist()]
        share(len(gradient), partial(_collect, resolutions, scales, gradient.numpy()))
    return sums, gradient


def _scale(row: list[float], weight: float) -> np.ndarray:
    """What the gradients that the loops leave are multiplied by."""
    off, energy, _, bins = row
    by_size = 1.0 / np.sqrt(off * energy) if off > 0 else 0.0
    return np.array([by_size * weight, weight / bins], np.float32)


def _resolution(window: Tensor, fft_size: int, hop: int, shape: Sequence[int], with_gradient: bool) -> _Resolution:
    rows, length = shape
    lead = fft_size // 2 - (fft_size - len(window)) // 2
    frames = 1 + length // hop
    halved = np.zeros(len(window) + len(window) % 2, np.float32)
    halved[: len(window)] = 0.5 * window.numpy()
    segments = rows * -(-frames // SEGMENT)
    samples = (SEGMENT + (len(halved) - 1) // hop) * hop if with_gradient else 0
    sums, parts = np.empty((segments, 3)), np.empty((segments, 2, samples), np.float32)
    return _Resolution(halved, hop, lead, frames, *_tables(fft_size), sums, parts)


def _measure(audio: list[np.ndarray], resolutions: list[_Resolution], first: int, last: int) -> None:
    for one in resolutions:
        count = len(one.sums)
        loops.measure(*audio, *one, first * count // _SHARES, last * count // _SHARES)


def _collect(
    resolutions: list[_Resolution], scales: list[np.ndarray], gradient: np.ndarray, first: int, last: int
) -> None:
    for one, scale in zip(resolutions, scales, strict=True):
        loops.collect(one.parts, scale, one.hop, one.lead, gradient, first, last)


@cache
def _tables(fft_size: int) -> tuple[tuple[np.ndarray, ...], bool]:
    """What the transform turns by, where its frequencies lie, and whether its first step halves.

    exp(-πi k / M) as (M, 2); exp(-2πi p q / 4m), q = 1, 2, 3, as (m, 6) from row m on, for the steps of 4m rows each.
    """
    rows = fft_size // 2
    by_two = rows.bit_length() % 2 == 0
    steps = ([2] if by_two else []) + [4] * ((rows.bit_length() - 1) // 2)
    turns = _pairs(-np.pi * np.arange(rows) / rows)
    quarters = np.zeros((max(rows // 4, 1) * 2, 6), np.float32)
    size = 1
    while 4 * size <= rows:
        angles = -2 * np.pi * np.arange(size)[:, None] * [1, 2, 3] / (4 * size)
        quarters[size : 2 * size] = _pairs(angles).reshape(size, 6)
        size *= 4
    place, rest, left = np.zeros(rows, np.int64), np.arange(rows), rows
    for step in steps:
        left //= step
        place += rest % step * left
        rest //= step
    bins = np.arange(1, rows // 2)
    bins = np.where(place[bins] < place[rows - bins], bins, rows - bins)
    bins = np.concatenate([[rows // 2], bins[np.argsort(place[bins])]])
    pairs = np.stack([place[bins], place[rows - bins]], -1)
    return (turns, quarters, pairs, turns[bins]), by_two


def _pairs(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
