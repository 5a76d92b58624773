"""Passes of the loops over all items, on threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nablafx.kernels.conv import arrays, loops
from nablafx.kernels.conv.arrays import NO_WEIGHTS, array
from nablafx.kernels.conv.loops import GATE, PLAIN, STRETCH
from nablafx.kernels.conv.steps import Beside, Values
from nablafx.kernels.conv.tiles import Features, Weights
from nablafx.kernels.threads import share


class Pass(NamedTuple):
    """What the loops are given, and the shape (B, rows, T) of what the convolution gives."""

    kind: int
    features: Features
    weights: Weights
    values: Values
    beside: Beside
    shape: tuple[int, int, int]

    def forward(self, mix: Weights = NO_WEIGHTS) -> tuple[Tensor, Tensor]:
        """The output and the skips."""
        batch, rows, length = self.shape
        out = torch.empty(batch, rows // 2 if self.kind == GATE else rows, length)
        skips = torch.empty(batch, 1, length if self.kind == GATE else 0)
        share(batch * _stretches(length), partial(loops.forward, *self[:-1], mix, array(out), array(skips)))
        return out, skips

    def finish_back(self, grad: Tensor, *gate: Any) -> tuple[Tensor, Tensor | None, Sums]:
        """Gradients of z, of what goes beside, and sums; gate: weights to mix back, and the gradient of the skips."""
        batch, _, length = self.shape
        by_z, channels = torch.empty(self.shape), self.beside.channels
        by_x = torch.empty(batch, channels, length) if channels else None
        back = _Back(self, grad, array(by_z), *gate)
        back.finish(0, batch)
        if by_x is not None:
            back.features(arrays.no_taps(channels), self.beside, by_x, 0, 0, batch)
        return by_z, by_x, back.sums

    def weights_back(self, grad: Tensor) -> Sums:
        """Sums of PLAIN alone."""
        back = _Back(self, grad, array(grad))
        back.finish(0, self.shape[0])
        return back.sums

    def block_back(
        self, weight: Tensor, dilation: int, context: Tensor, grad: Tensor, *gate: Any
    ) -> tuple[Tensor, Tensor, Sums]:
        """Gradients of the features, of what came before them, and sums.

        As many items at a time as there are threads: what the second loop reads of them, the first one has just left
        in the caches.
        """
        batch, rows, length = self.shape
        step, taps = min(batch, torch.get_num_threads()), arrays.taps_back(weight, dilation)
        by_x, by_context = torch.empty(batch, taps.rows, length), torch.empty(context.shape)
        slopes = array(grad) if self.kind == PLAIN else np.empty(step * rows * length, np.float32)
        back = _Back(self, grad, slopes, *gate)
        for first in range(0, batch, step):
            last = min(first + step, batch)
            back.finish(first, last)
            back.features(taps, self.beside, by_x, 0, first, last)
            back.features(taps, self.beside._replace(channels=0), by_context, -context.shape[-1], first, last)
        return by_x, by_context, back.sums


class _Back:
    """The loops of a backward pass, by items."""

    def __init__(
        self, run: Pass, grad: Tensor, slopes: np.ndarray, mix: Weights = NO_WEIGHTS, grad_skips: Tensor | None = None
    ) -> None:
        """
        Args:
            slopes: for the gradient of what the convolution gives, of all items or some; of PLAIN that is grad.
        """
        self._run, self._grads, self._slopes = run, array(grad), slopes
        self._mix, self._grad_skips = mix, array(grad if grad_skips is None else grad_skips)
        self.sums = Sums(run)

    def finish(self, first: int, last: int) -> None:
        """Slopes and sums."""
        run, stretches = self._run, _stretches(self._run.shape[-1])
        place = self._slopes, self._base(first)
        loop = partial(loops.backward, run.kind, self._grads, self._grad_skips, *run[1:-1], self._mix, *place)
        _share(partial(loop, self.sums.found), first * stretches, last * stretches)

    def features(self, taps: Weights, beside: Beside, out: Tensor, low: int, first: int, last: int) -> None:
        """From slopes to features of which out has the gradient, from sample `low` on."""
        _, rows, length = self._run.shape
        slopes = arrays.bare(self._slopes, rows, length), self._base(first)
        loop = partial(loops.backward_features, *slopes, taps, self._grads, beside, array(out))
        stretches = _stretches(out.shape[-1])
        _share(partial(loop, low, low + out.shape[-1]), first * stretches, last * stretches)

    def _base(self, first: int) -> int:
        """The item that the slopes begin with."""
        return 0 if len(self._slopes) == math.prod(self._run.shape) else first


class Sums:
    """Sums of a backward pass, by its jobs, and the gradients that they are."""

    def __init__(self, run: Pass) -> None:
        batch, _, length = self._shape = run.shape
        self._values, jobs = run.values, batch * _stretches(length)
        columns, mixed = run.features.channels * run.weights.taps, self._width if run.kind == GATE else 0
        self.found = arrays.empty_sums(jobs, run.weights, columns, run.values, length, mixed)

    def taps(self, weight: Tensor) -> Tensor:
        rows, channels, taps = weight.shape
        found = arrays.matrix(self.found.weight, rows, taps * channels)
        return found.reshape(rows, taps, channels).transpose(1, 2).contiguous()

    def bias(self) -> Tensor:
        return torch.from_numpy(self.found.bias.sum(0))

    def values(self) -> Tensor | None:
        return arrays.by_values(self.found, self._values, *self._shape[1:]) if self._values.items else None

    def residual(self) -> Tensor:
        return torch.from_numpy(self.found.gain.sum(0)).unsqueeze(1)

    def mix(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of mix, mix_bias and skip."""
        found = arrays.matrix(self.found.mix, self._width + 1, self._width)
        return found[:-1].contiguous(), torch.from_numpy(self.found.mix_bias.sum(0)), found[-1].clone()

    @property
    def _width(self) -> int:
        return self._shape[1] // 2


def _stretches(length: int) -> int:
    return -(-length // STRETCH)


def _share(run: Callable[[int, int], None], first: int, last: int) -> None:
    """Jobs first to last."""
    share(last - first, lambda start, stop: run(first + start, first + stop))
