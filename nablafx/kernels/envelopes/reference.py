"""What the kernels compute, in plain torch with the followers of :mod:`nablafx.kernels.filters`.

Shapes that all backends share:
    z: (B, K + C, T): K channels that pass, and C that are followed.
    pole: (C,) float64 in [0, 1). zi: (B, C) float64, e before the first sample.

        e[n] = p e[n-1] + (1 - p) |z[n]|,    level(e) = 1 + (2 / 3) log10(e + 0.001)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx.kernels import filters

# of amplitudes, -60 dB: what lies far below is silence; and of the natural logarithm
FLOOR, SLOPE = 1e-3, 2 / (3 * math.log(10))


def level(e: Tensor) -> Tensor:
    """Envelopes on a logarithmic scale, from -1 for silence to 1 for full scale."""
    return 1 + SLOPE * torch.log(e + FLOOR)


def levels(z: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
    """The channels that pass and the levels of the others, (B, T, K + C), and e after the last sample."""
    batch, length, channels = z.shape[0], z.shape[-1], len(pole)
    passed, followed = z.split([z.shape[1] - channels, channels], dim=1)
    exact = followed.abs().to(torch.promote_types(z.dtype, torch.float32))
    poles = pole.repeat(batch).unsqueeze(-1)
    rows = exact.reshape(batch * channels, 1, length)
    e, last = filters.envelope(rows, poles, poles, zi.reshape(-1, 1), length, 0)
    told = level(e).view(batch, channels, length).to(z.dtype)
    return torch.cat([passed, told], dim=1).transpose(1, 2), last.view(batch, channels)
