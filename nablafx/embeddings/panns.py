"""PANNs' Cnn14, trained to tag AudioSet."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from nablafx.embeddings.cnn14 import CHANNELS, FOURIER, Cnn14
from nablafx.embeddings.files import fill, found, read, tensors

Self = TypeVar("Self", bound="Panns")


class Panns(Cnn14):
    """2048 numbers for each 10 s, the length it was trained on; a new window begins every second.

    Levels of 64 bands, normalised one by one, through :class:`Cnn14` and one rectified layer. 2048 numbers have a
    covariance that is well known from far more frames only: compare sets of the same length.
    """

    file: ClassVar[str]
    source: ClassVar[str]
    bands, low_hz = 64, 50.0

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__(channels)
        self.size = channels[-1]
        self.fc1 = nn.Linear(self.size, self.size)
        self.fc_audioset = nn.Linear(self.size, 527)  # its tags, which are not asked for

    @classmethod
    def load(cls: type[Self], folder: Path) -> Self:
        path = found(cls.name, folder / cls.file, cls.source)
        network = cls()
        fill(network, tensors(read(path, cls.source), "model", path, cls.source), path, cls.source, FOURIER)
        return network.eval()

    def embed(self, windows: Tensor) -> Tensor:
        levels = self.bn0(self.levels(windows).transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
        return self.fc1(self.pooled(levels)).relu()


class Panns16k(Panns):
    """Hears up to 8 kHz."""

    name = "panns_16k"
    file = "Cnn14_16k_mAP=0.438.pth"
    source = "https://zenodo.org/records/3987831/files/Cnn14_16k_mAP%3D0.438.pth"
    sample_rate, window, hop = 16_000, 160_000, 16_000
    fft, stft_hop, high_hz = 512, 160, 8_000.0


class Panns32k(Panns):
    """Hears up to 14 kHz."""

    name = "panns_32k"
    file = "Cnn14_mAP=0.431.pth"
    source = "https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth"
    sample_rate, window, hop = 32_000, 320_000, 32_000
    fft, stft_hop, high_hz = 1024, 320, 14_000.0
