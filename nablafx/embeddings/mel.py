"""The embedding that is always there: levels in mel bands, how they spread, and how they move."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nablafx.embeddings.base import Embedding
from nablafx.embeddings.spectra import decibels, mel_filters, powers

_BANDS, _FFT, _HOP = 32, 2048, 512


class MelStatistics(Embedding):
    """Per second and band of 32 from 30 Hz to 20 kHz: mean and spread of the level, and the spread of its changes.

    Levels are in dB, not below -100, of frames of 43 ms at every 11 ms; the changes are those from frame to frame.
    A new second begins twice a second. There are no weights and nothing was trained: it is nablafx's own, hears
    colour, level and how lively they are, and its distances compare with each other only.
    """

    name = "mel"
    sample_rate = 48_000
    window, hop = 48_000, 24_000
    size = 3 * _BANDS
    taper: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("taper", torch.hann_window(_FFT))
        self.register_buffer("filters", mel_filters(self.sample_rate, _FFT, _BANDS, 30.0, 20_000.0))

    @classmethod
    def load(cls, folder: Path) -> MelStatistics:
        """There is nothing to load."""
        return cls()

    def embed(self, windows: Tensor) -> Tensor:
        levels = decibels(powers(windows, self.taper, _HOP) @ self.filters)
        moves = levels.diff(dim=1)
        return torch.cat([levels.mean(dim=1), levels.std(dim=1), moves.std(dim=1)], dim=-1)
