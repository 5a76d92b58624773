"""PANNs: Kong et al., "PANNs: large-scale pretrained audio neural networks for audio pattern recognition", 2020."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.embeddings.base import Embedding, fill, read_weights, weights_file

FILE = "Cnn14_mAP=0.431.pth"
SOURCE = "https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth"
FFT_SIZE, HOP, BANDS, CLASSES = 1024, 320, 64, 527
WIDTHS = (1, 64, 128, 256, 512, 1024, 2048)


class Cnn14(Embedding):
    """Windows of a second at 32 kHz as 64 log-mel bands, through 12 convolutions, to 2048 numbers."""

    sample_rate = 32_000
    window = 32_000
    hop = 16_000
    size = 2048

    def __init__(self) -> None:
        super().__init__()
        self.network = _Network()

    @classmethod
    def load(cls) -> Cnn14:
        """From `Cnn14_mAP=0.431.pth` in the folder of weights. Raises EmbeddingError."""
        path = weights_file("panns", FILE, SOURCE)
        found = cls()
        fill(found.network, read_weights("panns", path, "model"), "panns", path)
        return found.eval()

    def embed(self, windows: Tensor) -> Tensor:
        return F.relu(self.network.fc1(self.network(windows)))


class LogMel(nn.Module):
    """Power spectra in mel bands, in dB, with the very numbers of a checkpoint: its DFT and its filters are in it.

    audio (N, T) -> (N, 1, frames, bands). Frames are centred, the ends reflected.
    """

    def __init__(self, fft_size: int, hop: int, bands: int) -> None:
        super().__init__()
        bins = fft_size // 2 + 1
        self.fft_size = fft_size
        parts = ("conv_real", "conv_imag")
        stft = nn.ModuleDict({part: nn.Conv1d(1, bins, fft_size, stride=hop, bias=False) for part in parts})
        self.spectrogram_extractor = nn.ModuleDict({"stft": stft})
        self.logmel_extractor = nn.Module()
        self.logmel_extractor.register_buffer("melW", torch.zeros(bins, bands))

    def log_mel(self, audio: Tensor) -> Tensor:
        """Audio (N, T) -> (N, 1, frames, bands) in dB, -100 at least."""
        half = self.fft_size // 2
        padded = F.pad(audio.unsqueeze(1), (half, half), mode="reflect")
        parts = [self.get_submodule(f"spectrogram_extractor.stft.conv_{name}")(padded) for name in ("real", "imag")]
        power = (parts[0].square() + parts[1].square()).transpose(1, 2)
        return 10 * (power @ self.logmel_extractor.get_buffer("melW")).clamp(min=1e-10).log10().unsqueeze(1)


class Trunk(LogMel):
    """Log-mel bands, their normalisation, and six blocks of two convolutions; audio (N, T) -> (N, 2048)."""

    def __init__(self, fft_size: int, hop: int, bands: int, batch_norm: bool = True) -> None:
        super().__init__(fft_size, hop, bands)
        self.bn0 = nn.BatchNorm2d(bands)
        for number, (before, width) in enumerate(pairwise(WIDTHS), start=1):
            self.add_module(f"conv_block{number}", _Block(before, width, batch_norm))

    def forward(self, audio: Tensor) -> Tensor:
        x = self.normalised(self.log_mel(audio))
        for number in range(1, len(WIDTHS)):
            x = self.get_submodule(f"conv_block{number}")(x)
            if number < len(WIDTHS) - 1:
                x = F.avg_pool2d(x, 2)
        x = x.mean(dim=3)
        return x.amax(dim=2) + x.mean(dim=2)

    def normalised(self, levels: Tensor) -> Tensor:
        """Of each band, by what training has seen."""
        return self.bn0(levels.transpose(1, 3)).transpose(1, 3)


class _Block(nn.Module):
    def __init__(self, before: int, width: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.bn2 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class _Network(Trunk):
    """The names of its parameters are the checkpoint's; the classifier is there to be loaded, and not used."""

    def __init__(self) -> None:
        super().__init__(FFT_SIZE, HOP, BANDS)
        self.fc1 = nn.Linear(WIDTHS[-1], WIDTHS[-1])
        self.fc_audioset = nn.Linear(WIDTHS[-1], CLASSES)
