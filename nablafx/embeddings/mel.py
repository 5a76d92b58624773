"""Mel filters, and an embedding that needs no weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx.embeddings.base import Embedding


def mel_of(hz: float) -> float:
    """1127 ln(1 + f / 700): the scale of O'Shaughnessy, as HTK has it."""
    return 1127.0 * math.log1p(hz / 700.0)


def mel_filters(sample_rate: int, fft_size: int, bands: int, low_hz: float, high_hz: float) -> Tensor:
    """Triangles (fft_size / 2 + 1, bands), straight on the mel scale, of height 1, as HTK has them; nothing of DC."""
    edges = torch.linspace(mel_of(low_hz), mel_of(high_hz), bands + 2, dtype=torch.float64)
    hz = torch.linspace(0.0, sample_rate / 2, fft_size // 2 + 1, dtype=torch.float64)
    mels = (1127.0 * torch.log1p(hz / 700.0)).unsqueeze(1)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    weights = torch.minimum((mels - lower) / (centre - lower), (upper - mels) / (upper - centre)).clamp(min=0)
    weights[0] = 0.0
    return weights


class MelStatistics(Embedding):
    """Mean and standard deviation of 32 log-mel bands, 40 Hz to 16 kHz, over windows of a second: 64 numbers, in dB.

    Ours, without weights, and always there: it hears level and spectrum and how much they move, and nothing of what
    they mean. Its distances compare with its own only.
    """

    sample_rate = 48_000
    window = 48_000
    hop = 24_000
    size = 64
    fft_size = 2048
    floor = 1e-8  # of the power in a band: -80 dB, below which nobody hears a difference beside the rest

    def __init__(self) -> None:
        super().__init__()
        filters = mel_filters(self.sample_rate, self.fft_size, self.size // 2, 40.0, 16_000.0).float()
        self.register_buffer("filters", filters / filters.sum(dim=0))
        self.register_buffer("taper", torch.hann_window(self.fft_size))

    def embed(self, windows: Tensor) -> Tensor:
        taper, filters = self.get_buffer("taper"), self.get_buffer("filters")
        spectrum = torch.stft(
            windows, self.fft_size, self.fft_size // 4, window=taper, center=False, return_complex=True
        )
        # a sine of full scale has the power 1 / 4 in its bin
        power = (spectrum.abs() / taper.sum()).square().transpose(1, 2) @ filters
        level = 10 * (power + self.floor).log10()
        return torch.cat([level.mean(dim=1), level.std(dim=1)], dim=-1)
