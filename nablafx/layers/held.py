"""Signals that change once per block, and what they do to audio."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


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

    def modulate(self, x: Tensor) -> Tensor:
        """γ x + β for x (B, C, T), where γ and β are the two halves of the 2 C values."""
        scale, shift = self.values.chunk(2, dim=1)
        if self.block_size is None:
            return torch.addcmul(shift, x, scale)
        blocks, length = self.values.shape[-1], x.shape[-1]
        x = F.pad(x, (self.offset, blocks * self.block_size - self.offset - length))
        x = torch.addcmul(shift.unsqueeze(-1), x.unflatten(-1, (blocks, -1)), scale.unsqueeze(-1)).flatten(-2)
        return x[..., self.offset : self.offset + length]
