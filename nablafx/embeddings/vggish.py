"""VGGish, the network of the first Fréchet audio distances."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from nablafx.embeddings.base import Embedding
from nablafx.embeddings.files import fill, found, read
from nablafx.embeddings.spectra import magnitudes, mel_filters

_TAPER, _HOP, _FRAMES = 400, 160, 96  # 25 ms, 10 ms


class VGGish(Embedding):
    """128 numbers for each 0.96 s at 16 kHz, before whitening (PCA) and before the last rectifier.

    log(mel + 0.01) of 64 bands from 125 to 7500 Hz, 96 frames of it, through six convolutions and three layers, after
    Hershey et al. (2017), "CNN architectures for large-scale audio classification", arXiv 1609.09430. Distances of it
    as Kilgour et al. (2019), "Fréchet audio distance", arXiv 1812.08466, define them. The weights are those of
    torchvggish, ported from the published ones.
    """

    name = "vggish"
    file = "vggish-10086976.pth"
    source = f"https://github.com/harritaylor/torchvggish/releases/download/v0.1/{file}"
    sample_rate = 16_000
    window, hop = (_FRAMES - 1) * _HOP + _TAPER, _FRAMES * _HOP
    size = 128
    taper: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = _convolutions()
        widths = (512 * 6 * 4, 4096, 4096, self.size)
        layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)]
        # the last rectifier of the classifier is left out
        self.embeddings = nn.Sequential(*[module for pair in layers for module in pair][:-1])
        self.register_buffer("taper", torch.hann_window(_TAPER), persistent=False)
        self.register_buffer("filters", mel_filters(self.sample_rate, 512, 64, 125.0, 7500.0), persistent=False)

    @classmethod
    def load(cls, folder: Path) -> VGGish:
        path = found(cls.name, folder / cls.file, cls.source)
        network = cls()
        fill(network, read(path, cls.source), path, cls.source)
        return network.eval()

    def spectrogram(self, windows: Tensor) -> Tensor:
        """(N, window) -> (N, 96, 64)."""
        return torch.log(magnitudes(windows, self.taper, 512, _HOP) @ self.filters + 0.01)

    def embed(self, windows: Tensor) -> Tensor:
        pictures = self.features(self.spectrogram(windows)[:, None])
        # the layers' weights are ordered by frame, band and channel, as TensorFlow has them
        return self.embeddings(pictures.permute(0, 2, 3, 1).flatten(1))


def _convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 1
    for group in ((64,), (128,), (256, 256), (512, 512)):
        for width in group:
            layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
