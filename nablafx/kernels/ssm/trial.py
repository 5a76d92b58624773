"""Small cases for the kernels of the family: see :mod:`nablafx.kernels.proof`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

Call = tuple[str, tuple[Tensor, ...]]


class Sizes(NamedTuple):
    """What a case is made of."""

    batch: int
    channels: int
    states: int
    length: int


# blocks of both lengths, chunks in part, rests
CASES = (Sizes(2, 3, 4, 1000), Sizes(3, 2, 32, 2000))


def calls(cases: tuple[Sizes, ...] = CASES) -> Iterator[Call]:
    """Functions of the backends by name and their arguments, on the CPU: time constants of 20 to 20,000 samples."""
    for batch, channels, states, length in cases:
        generator = torch.Generator().manual_seed(0)

        def noise(*shape: int, dtype: torch.dtype, generator: torch.Generator = generator) -> Tensor:
            return torch.randn(*shape, dtype=dtype, generator=generator)

        decay, angle = torch.rand(2, channels, states, dtype=torch.float64, generator=generator)
        log_z = torch.complex(-(10 ** (-1.3 - 3 * decay)), 3 * angle)
        gain, readout = noise(2, channels, states, dtype=torch.complex128)
        direct = noise(channels, dtype=torch.float64)
        grad_y, u = noise(2, batch, channels, length, dtype=torch.float32)
        grad_state, state = noise(2, batch, channels, states, dtype=torch.complex64)
        yield "answers", (grad_y, grad_state, u, log_z, gain, readout, direct, state)
