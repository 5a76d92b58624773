"""Envelopes of many channels, with learned time constants."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx.dsp.envelopes import level, levels
from nablafx.dsp.units import pole


class EnvelopeBank(nn.Module):
    """How loud channels have been of late, with learned time constants, beside channels that pass.

    See :func:`nablafx.dsp.envelopes.levels`; poles exp(-1 / (0.001 exp(log_time_ms) sample_rate)). The time constants
    begin on a logarithmic grid from the fastest to the slowest. State: (B, C) float64.
    """

    def __init__(self, channels: int, sample_rate: int, fastest_ms: float, slowest_ms: float) -> None:
        """
        Args:
            channels: that are followed, C.

        Raises:
            ValueError: a time constant is not above 0.
        """
        super().__init__()
        if not (fastest_ms > 0 and slowest_ms > 0):
            raise ValueError(
                f"EnvelopeBank: fastest_ms and slowest_ms are {fastest_ms} and {slowest_ms}; both must be above 0"
            )
        self.sample_rate = sample_rate
        self.log_time_ms = nn.Parameter(torch.linspace(math.log(fastest_ms), math.log(slowest_ms), channels))

    def poles(self) -> Tensor:
        """(C,) float64."""
        return pole(self.log_time_ms.double().exp(), self.sample_rate)

    def forward(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, K + C, T) -> its first K channels and the levels of the others, (B, T, K + C), and the state."""
        return levels(z, self.poles(), state)

    def rest(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Answer to a constant input z (B, K + C, 1) held for ever."""
        passed, followed = z.split([z.shape[1] - len(self.log_time_ms), len(self.log_time_ms)], dim=1)
        e = followed.abs()
        return torch.cat([passed, level(e)], dim=1).transpose(1, 2), e.squeeze(-1).double()
