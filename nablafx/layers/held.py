"""Signals that change once per block, and what they do to audio."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nablafx.kernels import conv


class Held(NamedTuple):
    """Values (B, F, N) that hold for `block_size` samples each, or for ever where block_size is None (then N = 1).

    `offset` samples of the first block lie before the audio that the values govern.
    """

    values: Tensor
    block_size: int | None = None
    offset: int = 0

    def at_samples(self, length: int) -> Tensor:
        """The value at each of `length` samples, (B, F, length)."""
        if self.block_size is None:
            return self.values.expand(-1, -1, length)
        return self.values.repeat_interleave(self.block_size, dim=-1)[..., self.offset : self.offset + length]

    def map(self, function: Callable[[Tensor], Tensor]) -> Held:
        """The same blocks with other values."""
        return self._replace(values=function(self.values))

    def first(self) -> Held:
        """The values of the first block, held for ever."""
        return Held(self.values[..., :1])

    def tail(self, length: int) -> Held:
        """The last of the blocks, of which the first now begins with the first of `length` samples."""
        if self.block_size is None:
            return self
        return Held(self.values[..., self.values.shape[-1] - -(-length // self.block_size) :], self.block_size)

    def modulate(self, x: Tensor) -> Tensor:
        """γ x + β for x (B, C, T), where γ and β are the two halves of the 2 C values."""
        return conv.modulate(x, *governing(self))

    def scale(self, x: Tensor) -> Tensor:
        """v x for x (B, C, T), v (B, C or 1, N)."""
        return conv.by_block(torch.mul, x, *self._blocks, self.values.to(x.dtype))

    def shift(self, x: Tensor) -> Tensor:
        """x + v for x (B, C, T), v (B, C or 1, N)."""
        return conv.by_block(torch.add, x, *self._blocks, self.values.to(x.dtype))

    @property
    def _blocks(self) -> tuple[int, int]:
        return self.block_size or conv.FOREVER, self.offset


def governing(held: Held | None) -> tuple[Tensor | None, int, int]:
    """What modulates, as :mod:`nablafx.kernels.conv` wants it: values, block and offset; None: nothing does."""
    if held is None:
        return None, conv.FOREVER, 0
    return held.values, *held._blocks
