"""Weights and audio that anybody can make again, for networks whose own are too large to ship."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def seeded(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random weights by name that keep the size of what runs through them; statistics of norms around 0 and 1."""
    weights = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(number))
        if len(shape) > 1:
            weights[name] = noise * math.sqrt(2 / math.prod(shape[1:]))
        elif "running_var" in name or ("bn" in name and name.endswith("weight")):
            weights[name] = 1 + 0.2 * noise.abs()
        else:
            weights[name] = 0.1 * noise
    return weights


def front(size: int, bands: int) -> dict[str, Tensor]:
    """The part of a checkpoint that makes mel bands: the DFT of `size` samples under a Hann window, as convolutions
    (bins, 1, size), and triangles (bins, bands), here on a linear scale."""
    steps, bins = torch.arange(size, dtype=torch.float64), torch.arange(size // 2 + 1, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(bins, steps) / size
    taper = 0.5 - 0.5 * torch.cos(2 * math.pi * steps / size)
    middles = torch.linspace(0, size // 2, bands, dtype=torch.float64)
    return {
        "spectrogram_extractor.stft.conv_real.weight": (angle.cos() * taper).float().unsqueeze(1),
        "spectrogram_extractor.stft.conv_imag.weight": (-angle.sin() * taper).float().unsqueeze(1),
        "logmel_extractor.melW": (1 - (bins.unsqueeze(1) - middles).abs() * bands / size).clamp(min=0).float(),
    }


def sound(length: int, sample_rate: int) -> Tensor:
    """A falling chirp with overtones and some noise, (length,)."""
    time = torch.arange(length, dtype=torch.float64) / sample_rate
    phase = 2 * math.pi * (2000 * time - 400 * time.square())
    noise = torch.randn(length, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return (0.4 * phase.sin() + 0.2 * (3 * phase).sin() + 0.01 * noise).float()
