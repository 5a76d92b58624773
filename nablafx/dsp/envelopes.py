"""Many followers of the level of audio, each with one pole of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx.dsp.filtering import envelope

# of amplitudes, -60 dB: what is far below is silence
FLOOR = 1e-3


def follow(x: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
    """Follow the magnitude of every channel.

        e[n] = p e[n-1] + (1 - p) |x[n]|

    Args:
        x: (B, C, T).
        pole: (C,) float64 in [0, 1); :func:`nablafx.dsp.units.pole` makes them of times.
        zi: (B, C) float64, e before x[0].

    Returns:
        e (B, C, T) in the type of x, and its last value, (B, C) float64.
    """
    batch, channels, length = x.shape
    poles = pole.repeat(batch).unsqueeze(-1)
    e, last = envelope(x.abs().reshape(batch * channels, 1, length), poles, poles, zi.reshape(-1, 1))
    return e.view(batch, channels, length), last.view(batch, channels)


def level(e: Tensor) -> Tensor:
    """Envelopes on a logarithmic scale, from -1 for silence to 1 for full scale: 1 + (2 / 3) log10(e + 0.001)."""
    return torch.log10(e + FLOOR) * (2 / 3) + 1
