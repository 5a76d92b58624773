"""Between the units that people set and the numbers that signal processing needs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def amplitude_to_db(amplitude: Tensor, floor: float = 1e-10) -> Tensor:
    """20 log10 |amplitude|, real or complex; what lies under `floor` is taken for it: silence is -200 dB."""
    return 20 * torch.log10(amplitude.abs().clamp(min=floor))


def db_to_amplitude(gain_db: Tensor) -> Tensor:
    """10^(gain_db / 20)."""
    return torch.pow(10.0, gain_db / 20)


def pole(time_ms: Tensor, sample_rate: float) -> Tensor:
    """exp(-1 / (0.001 time_ms sample_rate)): the pole p of a follower with a time constant.

    s[n] = p s[n-1] + (1 - p) x[n] covers 1 - 1/e of a step in `time_ms`. A time of 0 gives the pole 0, which follows
    at once, and the gradient 0.
    """
    samples = (0.001 * sample_rate * time_ms).clamp(min=1e-6)
    return torch.exp(-1 / samples)


def cutoff_pole(cutoff_hz: Tensor, sample_rate: float) -> Tensor:
    """exp(-2π cutoff_hz / sample_rate): the pole of a one-pole low-pass, that of the time constant 1 / (2π cutoff)."""
    return torch.exp(cutoff_hz * (-2 * math.pi / sample_rate))
