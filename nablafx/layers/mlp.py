"""Small fully connected networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    """Linear layers through `sizes`, an activation after each, the last one too: (B, sizes[0]) -> (B, sizes[-1])."""

    def __init__(self, *sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), activation()]
        super().__init__(*layers)
