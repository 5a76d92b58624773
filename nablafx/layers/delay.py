"""A delay of whole samples whose past is an argument."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Delay(nn.Module):
    """y[n] = x[n - samples], the samples before x[0] coming from the state; with 0 samples x itself.

    State: (B, C, samples), or nothing where there is no delay.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x (B, C, T) -> y (B, C, T) and the state after it."""
        if not self.samples:
            return x, state
        x = torch.cat([state, x], dim=-1)
        return x[..., : x.shape[-1] - self.samples], x[..., x.shape[-1] - self.samples :]

    def rest(self, x: Tensor) -> Any:
        """The state after the constant x (B, C, 1) held for ever."""
        return x.expand(-1, -1, self.samples) if self.samples else ()

    def extra_repr(self) -> str:
        return f"samples={self.samples}"
