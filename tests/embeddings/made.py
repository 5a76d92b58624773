"""Weights and audio made by a formula, the same here and in the environment of the packages compared with."""

from __future__ import annotations

import math

import torch


def fill(module: torch.nn.Module) -> torch.nn.Module:
    """Random weights that keep levels through many layers, the same wherever names and shapes are."""
    generator = torch.Generator().manual_seed(0)
    for name, value in sorted(module.state_dict().items()):
        if name.startswith(("spectrogram_extractor", "logmel_extractor")) or not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim > 1:
            value.copy_(noise * math.sqrt(2.0 / value[0].numel()))
        elif "bn" in name and name.endswith(("weight", "running_var")):
            value.copy_(1.0 + 0.1 * noise)
        else:
            value.copy_(0.1 * noise)
    return module.eval()


def audio(samples: int) -> torch.Tensor:
    """A decaying chirp in noise (1, samples)."""
    time = torch.linspace(0.0, 1.0, samples, dtype=torch.float64)
    chirp = torch.sin(2000.0 * time**3) * torch.exp(-2.0 * time)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (0.3 * chirp + 0.01 * noise).float()[None]
