"""AFx-Rep, trained to tell audio effects and their settings apart."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.embeddings.cnn14 import CHANNELS, FOURIER, Cnn14
from nablafx.embeddings.files import fill, found, read, tensors

_PREFIX = "encoder."


class AfxRep(Cnn14):
    """512 numbers of length 1 for each 5.5 s at 48 kHz, the length it was trained on; windows overlap by half.

    Each window is scaled to a peak of 1, so levels are not heard. After Steinmetz et al. (2024), "ST-ITO: controlling
    audio effects for style transfer with inference-time optimization", arXiv 2410.21233.

    The network has a layer for the middle of stereo audio and one for its sides, and both results side by side are
    the embedding. Ours is mono: the sides are silent, and what they give is the same for all audio. It would add
    nothing to a distance, and is left out.
    """

    name = "afx_rep"
    file = "afx-rep.ckpt"
    source = "https://huggingface.co/csteinmetz1/afx-rep/resolve/main/afx-rep.ckpt"
    sample_rate, window, hop = 48_000, 2**18, 2**17
    size = 512
    fft, stft_hop, bands, low_hz, high_hz = 2048, 1024, 128, 20.0, 20_000.0

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__(channels)
        self.fc_mid = nn.Linear(channels[-1], self.size)
        self.fc_side = nn.Linear(channels[-1], self.size)

    @classmethod
    def load(cls, folder: Path) -> AfxRep:
        path = found(cls.name, folder / cls.file, cls.source)
        weights = tensors(read(path, cls.source), "state_dict", path, cls.source)
        # beside the encoder lie the heads that it was trained with
        encoder = {key.removeprefix(_PREFIX): value for key, value in weights.items() if key.startswith(_PREFIX)}
        network = cls()
        fill(network, encoder, path, cls.source, FOURIER)
        return network.eval()

    def embed(self, windows: Tensor) -> Tensor:
        peaks = windows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-8)
        # from -80 to 40 dB, as -1 to 1; the batch norm of other networks of this make, bn0, is not used
        levels = (self.levels(windows / peaks).clamp(-80.0, 40.0) + 20.0) / 60.0
        return F.normalize(self.fc_mid(self.pooled(levels)), dim=-1)
