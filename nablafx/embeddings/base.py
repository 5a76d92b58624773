"""What an embedding is: windows of audio to vectors, at a rate of its own."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from nablafx.errors import UNREADABLE, UserError

FOLDER_VARIABLE = "NABLAFX_EMBEDDINGS"
_WINDOWS_AT_ONCE = 16  # so that memory does not grow with a file


class EmbeddingError(UserError, ValueError):
    """The weights of an embedding are missing, damaged, or another network's."""


class Embedding(nn.Module):
    """Maps windows of `window` samples, one every `hop`, at `sample_rate` Hz, to vectors of `size` numbers."""

    sample_rate: int
    window: int
    hop: int
    size: int

    @abstractmethod
    def embed(self, windows: Tensor) -> Tensor:
        """(N, window) -> (N, size)."""

    @torch.no_grad()
    def forward(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Audio (T,) at any rate -> (N, size) float64.

        Audio shorter than a window is filled up with silence; of longer audio what is behind the last whole window is
        not heard.
        """
        heard = audio.float().cpu().numpy()
        if sample_rate != self.sample_rate:
            heard = soxr.resample(heard, sample_rate, self.sample_rate)
        heard = np.pad(heard, (0, max(self.window - len(heard), 0)))
        windows = torch.from_numpy(heard).unfold(0, self.window, self.hop)
        return torch.cat([self.embed(part).double() for part in windows.split(_WINDOWS_AT_ONCE)])


def weights_folder() -> Path:
    """$NABLAFX_EMBEDDINGS, else ~/.cache/nablafx/embeddings."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".cache" / "nablafx" / "embeddings"


def weights_file(name: str, place: str, source: str) -> Path:
    """The file or folder `place` of the weights folder.

    Raises:
        EmbeddingError: it is not there; it is never downloaded.
    """
    path = weights_folder() / place
    if not path.exists():
        raise EmbeddingError(
            f"the embedding {name} needs {path}, which is not there. Get it from {source} and put it there, or name "
            f"another folder in {FOLDER_VARIABLE}; nothing is downloaded unasked"
        )
    return path


def read_weights(name: str, path: Path, part: str | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint (of its entry `part`), by name; only plain data and tensors are ever built from it.

    Raises:
        EmbeddingError: it is damaged, or holds something else.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise EmbeddingError(f"{path}, for the embedding {name}, cannot be read ({told[0]}); get it anew") from error
    if part is not None and isinstance(content, Mapping):
        content = content.get(part)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise EmbeddingError(f"{path}, for the embedding {name}, holds no tensors{f' in {part!r}' if part else ''}")
    return dict(content)


def fill(network: nn.Module, weights: Mapping[str, Tensor], name: str, path: Path) -> None:
    """Load weights of the same names and shapes.

    Raises:
        EmbeddingError: names or shapes differ.
    """
    known = network.state_dict()
    missing = [key for key in known if key not in weights and not key.endswith("num_batches_tracked")]
    foreign = [key for key in weights if key not in known]
    unlike = [key for key in known if key in weights and weights[key].shape != known[key].shape]
    if missing or foreign or unlike:
        counts = f"{len(missing)} tensors missing, {len(foreign)} foreign, {len(unlike)} of another shape"
        first = (missing or foreign or unlike)[0]
        raise EmbeddingError(f"{path} is not the checkpoint of {name}: {counts}, such as {first!r}; get it anew")
    network.load_state_dict(dict(weights), strict=False)
