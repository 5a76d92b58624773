"""What PANNs and AFx-Rep have in common: mel levels and the convolutions of Cnn14."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.embeddings.base import Embedding
from nablafx.embeddings.spectra import decibels, mel_filters, powers

CHANNELS = (64, 128, 256, 512, 1024, 2048)
# in their files, the windowed Fourier transform as convolutions; torch.stft is the same and quicker
FOURIER = tuple(f"spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag"))


class ConvBlock(nn.Module):
    """Twice a convolution over 3 frames and 3 bands, batch norm and a rectifier; then means over squares of `pool`."""

    def __init__(self, channels: int, width: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return F.avg_pool2d(x, self.pool)


class MelBands(nn.Module):
    """Powers (..., lines) -> levels of mel bands in dB (..., bands)."""

    melW: Tensor

    def __init__(self, filters: Tensor) -> None:
        super().__init__()
        self.register_buffer("melW", filters)

    def forward(self, x: Tensor) -> Tensor:
        return decibels(x @ self.melW)


class Cnn14(Embedding):
    """Six blocks of convolutions over mel levels, and mean plus maximum over time of what they give.

    After Kong et al. (2020), "PANNs: large-scale pretrained audio neural networks for audio pattern recognition",
    arXiv 1912.10211. Parts are named as in the authors' files. All blocks but the last halve time and bands.
    """

    fft: int
    stft_hop: int
    bands: int
    low_hz: float
    high_hz: float
    taper: Tensor

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        filters = mel_filters(self.sample_rate, self.fft, self.bands, self.low_hz, self.high_hz, "slaney")
        self.logmel_extractor = MelBands(filters)
        self.register_buffer("taper", torch.hann_window(self.fft), persistent=False)
        self.bn0 = nn.BatchNorm2d(self.bands)
        self._blocks = [f"conv_block{number}" for number, _ in enumerate(channels, start=1)]
        for name, before, width in zip(self._blocks, (1, *channels), channels, strict=False):
            self.add_module(name, ConvBlock(before, width, 1 if name == self._blocks[-1] else 2))

    def levels(self, windows: Tensor) -> Tensor:
        """(N, window) -> dB (N, frames, bands)."""
        return self.logmel_extractor(powers(windows, self.taper, self.stft_hop))

    def pooled(self, levels: Tensor) -> Tensor:
        """(N, frames, bands) -> (N, channels)."""
        x = levels[:, None]
        for name in self._blocks:
            x = self.get_submodule(name)(x)
        x = x.mean(dim=3)
        return x.amax(dim=2) + x.mean(dim=2)
