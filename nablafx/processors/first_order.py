"""The filters of one resistor and one capacitor: 6 dB per octave."""

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


class FirstOrderLowpass(SosProcessor):
    """6 dB per octave above the cut-off, what a resistor and a capacitor to ground are: many a pedal's tone control.

        y[n] = p y[n-1] + (1 - p) / 2 (x[n] + x[n-1]),   p as of :class:`CouplingCapacitor`

    by the bilinear transform of 2π cutoff_hz / (s + 2π cutoff_hz).
    """

    def __init__(self, sample_rate: int = 48_000, cutoff_hz: Range = (20.0, 20_000.0, "log")) -> None:
        super().__init__(sample_rate, cutoff_hz=cutoff_hz)

    def sections(self, *, cutoff_hz: Tensor) -> Tensor:  # type: ignore[override]
        g = _warped(cutoff_hz, self.sample_rate)
        return _section(g, g, g)


def first_order_highpass(cutoff_hz: Tensor, sample_rate: float) -> Tensor:
    """Section (B, N, 1, 6) of the high-pass of one capacitor, for cut-offs (B, N)."""
    g = _warped(cutoff_hz, sample_rate)
    one = torch.ones_like(g)
    return _section(g, one, -one)


def _warped(cutoff_hz: Tensor, sample_rate: float) -> Tensor:
    return torch.tan(math.pi / sample_rate * cutoff_hz)


def _section(g: Tensor, now: Tensor, before: Tensor) -> Tensor:
    """(B, N, 1, 6) of y[n] = p y[n-1] + (now x[n] + before x[n-1]) / (1 + g)."""
    scale, one, zero = 1 / (1 + g), torch.ones_like(g), torch.zeros_like(g)
    return torch.stack([now * scale, before * scale, zero, one, (g - 1) * scale, zero], dim=-1).unsqueeze(-2)
