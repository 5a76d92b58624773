"""The high-pass of one capacitor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx.processors.base import Range, SosProcessor


class CouplingCapacitor(SosProcessor):
    """First-order high-pass, what a capacitor between two stages of a circuit is: 6 dB per octave below the cut-off.

        y[n] = p y[n-1] + (1 + p) / 2 (x[n] - x[n-1]),   p = (1 - g) / (1 + g),   g = tan(π cutoff_hz / sample_rate)

    by the bilinear transform of s / (s + 2π cutoff_hz).
    """

    def __init__(self, sample_rate: int = 48_000, cutoff_hz: Range = (3.0, 1500.0, "log")) -> None:
        super().__init__(sample_rate, cutoff_hz=cutoff_hz)

    def sections(self, *, cutoff_hz: Tensor) -> Tensor:  # type: ignore[override]
        return first_order_highpass(cutoff_hz, self.sample_rate)


def first_order_highpass(cutoff_hz: Tensor, sample_rate: float) -> Tensor:
    """Section (B, N, 1, 6) of the high-pass of one capacitor, for cut-offs (B, N)."""
    g = torch.tan(math.pi / sample_rate * cutoff_hz)
    gain, one, zero = 1 / (1 + g), torch.ones_like(g), torch.zeros_like(g)
    return torch.stack([gain, -gain, zero, one, (g - 1) * gain, zero], dim=-1).unsqueeze(-2)
