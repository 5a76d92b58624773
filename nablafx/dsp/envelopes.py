"""Levels of many channels, each followed with a pole of its own."""

from __future__ import annotations

from torch import Tensor

from nablafx.kernels import envelopes
from nablafx.kernels.envelopes import level

__all__ = ["level", "levels"]


def levels(z: Tensor, pole: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
    """The level of the last channels as one pole each follows their magnitude, beside the channels before them.

        e[n] = p e[n-1] + (1 - p) |z[n]|,    level(e) = 1 + (2 / 3) log10(e + 0.001)

    A level is 1 for full scale, -1 for silence, and has a gradient there.

    Args:
        z: (B, K + C, T).
        pole: (C,) float64 in [0, 1); :func:`nablafx.dsp.units.pole` makes them of times.
        zi: (B, C) float64, e before z[0].

    Returns:
        (B, T, K + C), the first K channels as they are, as a recurrent layer takes them, and the last e, (B, C)
        float64: of a slow follower float32 would lose what a sample adds.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    channels = pole.numel()
    if z.dim() != 3 or pole.dim() != 1 or z.shape[1] < channels or zi.shape != (z.shape[0], channels):
        raise ValueError(
            f"levels: needs z (B, K + C, T), pole (C,) and zi (B, C), got {tuple(z.shape)}, {tuple(pole.shape)} and "
            f"{tuple(zi.shape)}"
        )
    return envelopes.levels(z, pole, zi)
