"""Envelopes of many channels, with learned time constants."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx.dsp.envelopes import follow, level
from nablafx.dsp.units import pole


class EnvelopeBank(nn.Module):
    """How loud each channel has been of late, on a logarithmic scale: level(follow(x; exp(log_time_ms))).

    The time constants begin on a logarithmic grid from the fastest to the slowest. State: (B, C) float64.
    """

    def __init__(self, channels: int, sample_rate: int, fastest_ms: float, slowest_ms: float) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.log_time_ms = nn.Parameter(torch.linspace(math.log(fastest_ms), math.log(slowest_ms), channels))

    def poles(self) -> Tensor:
        """(C,) float64."""
        return pole(self.log_time_ms.double().exp(), self.sample_rate)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, T) -> levels (B, C, T) and the state after it."""
        e, state = follow(x, self.poles(), state)
        return level(e), state

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Answer to a constant input x (B, C, 1) held for ever."""
        e = x.abs()
        return level(e), e.squeeze(-1).double()
