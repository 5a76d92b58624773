"""VGGish: Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from nablafx.embeddings.base import Embedding, fill, read_weights, weights_file
from nablafx.embeddings.mel import mel_filters

FILE = "vggish-10086976.pth"
SOURCE = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"
_WIDTHS = ((64,), (128,), (256, 256), (512, 512))  # of the convolutions between poolings


class VGGish(Embedding):
    """Windows of 0.96 s as 96 frames of 64 log-mel bands, through a VGG, to 128 numbers; without the PCA of AudioSet.

    The checkpoint is that of torchvggish.
    """

    sample_rate = 16_000
    window = 15_600  # 96 frames of 400 samples, every 160
    hop = 15_360
    size = 128

    def __init__(self) -> None:
        super().__init__()
        self.network = _Network()
        self.register_buffer("filters", mel_filters(self.sample_rate, 512, 64, 125.0, 7500.0).float())
        self.register_buffer("taper", torch.hann_window(400))

    @classmethod
    def load(cls) -> VGGish:
        """From `vggish-10086976.pth` in the folder of weights. Raises EmbeddingError."""
        path = weights_file("vggish", FILE, SOURCE)
        found = cls()
        fill(found.network, read_weights("vggish", path), "vggish", path)
        return found.eval()

    def log_mel(self, windows: Tensor) -> Tensor:
        """(N, window) -> (N, 96, 64): log(magnitude in mel bands + 0.01)."""
        frames = windows.unfold(-1, 400, 160) * self.get_buffer("taper")
        return (torch.fft.rfft(frames, 512).abs() @ self.get_buffer("filters") + 0.01).log()

    def embed(self, windows: Tensor) -> Tensor:
        return self.network(self.log_mel(windows).unsqueeze(1))


class _Network(nn.Module):
    """The names of its parameters are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for widths in _WIDTHS:
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        sizes = pairwise((512 * 6 * 4, 4096, 4096, 128))
        self.embeddings = nn.Sequential(*(layer for a, b in sizes for layer in (nn.Linear(a, b), nn.ReLU())))

    def forward(self, x: Tensor) -> Tensor:
        # the dense layers were trained on channels last
        return self.embeddings(self.features(x).permute(0, 2, 3, 1).flatten(1))
