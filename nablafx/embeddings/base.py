"""What every embedding of audio does: cut it into windows, and turn each into one vector."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# windows that go through a network at once: the memory does not grow with a file
_WINDOWS = 8

Self = TypeVar("Self", bound="Embedding")


class Embedding(nn.Module):
    """Audio (B, T) at `sample_rate` -> vectors (B, frames, `size`), one for each window of `window` samples.

    A window begins every `hop` samples. Audio shorter than one is followed by silence, which makes one frame of it;
    of longer audio, what is left at the end and fills no window is not heard. A subclass says what these figures are,
    and embeds windows (N, window) -> (N, size).
    """

    name: ClassVar[str]
    sample_rate: int
    window: int
    hop: int
    size: int

    @classmethod
    @abstractmethod
    def load(cls: type[Self], folder: Path) -> Self:
        """With its weights, from a folder that holds them.

        Raises:
            WeightsError: they are not there, or are not what is needed.
        """

    @abstractmethod
    def embed(self, windows: Tensor) -> Tensor:
        """(N, window) -> (N, size)."""

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """
        Raises:
            ValueError: audio is not (B, T).
        """
        if audio.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: audio is {tuple(audio.shape)}; it needs (B, T), at {self.sample_rate} Hz"
            )
        missing = self.window - audio.shape[-1]
        windows = (F.pad(audio, (0, missing)) if missing > 0 else audio).unfold(-1, self.window, self.hop)
        vectors = [self.embed(part) for part in windows.flatten(0, 1).split(_WINDOWS)]
        return torch.cat(vectors).view(*windows.shape[:2], self.size)


def resampled(audio: Tensor, sample_rate: int, new_rate: int) -> Tensor:
    """(B, T) at `sample_rate` -> (B, T') at `new_rate`, both in Hz; on the CPU where they differ."""
    if sample_rate == new_rate:
        return audio
    import soxr  # loaded only where a rate differs

    return torch.from_numpy(soxr.resample(audio.T.cpu().numpy(), sample_rate, new_rate, quality="VHQ").T.copy())
