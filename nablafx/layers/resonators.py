"""Learned filters of one pair of poles each, spread over the audible frequencies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx.dsp.biquad import MAX_CUTOFF
from nablafx.layers.diagonal_ssm import DiagonalSSM

POLES = ("log_dt", "log_A_real", "A_imag")
"""Parameters of both classes that place the poles."""

_LOWEST_HZ, _HIGHEST_HZ = 60.0, 6_000.0
_DAMPING = 0.7  # of a pole, by its frequency: a filter of the second order without a peak


class ResonatorBank(DiagonalSSM):
    """x (B, 1, T) -> filtered versions of it, (B, channels, T), each by a complex pole: 2 Re(c_m s_m) + d_m x.

    Before training a pole lies at f_m (-0.7 + i), f_m from 60 Hz to 6 kHz on a logarithmic grid. `log_dt` holds the
    logarithms of f_m, so that a step moves all of them by equal ratios. State: (B, channels, 1, 2).
    """

    def __init__(self, channels: int, sample_rate: int) -> None:
        super().__init__(channels, 1)
        with torch.no_grad():
            self.log_dt.copy_(_angles(channels, sample_rate).log())
            self.log_A_real.fill_(math.log(_DAMPING))
            self.A_imag.fill_(1.0)
            self.C.copy_(torch.tensor([_DAMPING, 0.0]))
            self.D.zero_()

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 1, T) -> z (B, channels, T), state."""
        return super().forward(x.expand(-1, len(self.D), -1), state)

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Answer to a constant input x (B, 1, 1) held for ever."""
        return super().rest(x.expand(-1, len(self.D), -1))


class ResonantFilter(DiagonalSSM):
    """x (B, 1, T) -> d x + Σ_m 2 Re(c_m s_m): the audio, and poles beside it that begin unheard.

    Before training d = 1 and c_m = 0, and the poles lie as those of a :class:`ResonatorBank`. State: (B, 1, poles, 2).
    """

    def __init__(self, num_poles: int, sample_rate: int) -> None:
        super().__init__(1, num_poles)
        angles = _angles(num_poles, sample_rate)
        with torch.no_grad():
            middle = angles.log().mean().exp()
            self.log_dt.fill_(middle.log())
            self.log_A_real.copy_((_DAMPING * angles / middle).log())
            self.A_imag.copy_(angles / middle)
            self.C.zero_()
            self.D.fill_(1.0)


def _angles(count: int, sample_rate: int) -> Tensor:
    """Frequencies on the grid, (count,), in radians a sample."""
    highest = min(_HIGHEST_HZ, MAX_CUTOFF * sample_rate)
    lowest = min(_LOWEST_HZ, highest)
    return 2 * math.pi / sample_rate * torch.logspace(math.log10(lowest), math.log10(highest), count)
