"""AFx-Rep: Steinmetz et al., "ST-ITO: controlling audio effects for style transfer with inference-time optimization",
ISMIR 2024 (arXiv 2410.21233)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.embeddings.base import Embedding, EmbeddingError, fill, read_weights, weights_file
from nablafx.embeddings.panns import WIDTHS, Trunk

FOLDER = "afx-rep"
SOURCE = "https://huggingface.co/csteinmetz1/afx-rep (afx-rep.ckpt and config.yaml)"
NORMALISATIONS = ("batchnorm", "minmax", "none")


class AFxRep(Embedding):
    """Windows of five seconds at 48 kHz, each at a peak of 1, to a vector of length 1 that tells the effects on them.

    Ours is mono: it is the mid signal, and there is no side to embed.
    """

    sample_rate = 48_000
    window = 240_000
    hop = 120_000

    def __init__(
        self,
        embed_dim: int,
        window_size: int,
        hop_size: int,
        mel_bins: int,
        use_batchnorm: bool = False,
        input_norm: str = "batchnorm",
    ) -> None:
        """The arguments are those of `encoder` in the published config.yaml."""
        super().__init__()
        if input_norm not in NORMALISATIONS:
            raise ValueError(f"AFxRep: input_norm is {input_norm!r}; it is one of {', '.join(NORMALISATIONS)}")
        self.size = embed_dim
        self.network = _Network(embed_dim, window_size, hop_size, mel_bins, use_batchnorm, input_norm)

    @classmethod
    def load(cls) -> AFxRep:
        """From `afx-rep/afx-rep.ckpt` and `afx-rep/config.yaml` in the folder of weights. Raises EmbeddingError."""
        path = weights_file("afx-rep", f"{FOLDER}/afx-rep.ckpt", SOURCE)
        config = weights_file("afx-rep", f"{FOLDER}/config.yaml", SOURCE)
        found = cls(**_arguments(config))
        weights = read_weights("afx-rep", path, "state_dict")
        # beside the encoder there are the heads that it was trained with
        encoder = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
        fill(found.network, encoder, "afx-rep", path)
        return found.eval()

    def embed(self, windows: Tensor) -> Tensor:
        loud = windows / windows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-8)
        return F.normalize(self.network.fc_mid(self.network(loud)), dim=-1)


class _Network(Trunk):
    def __init__(
        self, embed_dim: int, fft_size: int, hop: int, bands: int, batch_norm: bool, normalisation: str
    ) -> None:
        super().__init__(fft_size, hop, bands, batch_norm)
        self.normalisation = normalisation
        self.fc_mid = nn.Linear(WIDTHS[-1], embed_dim)
        self.fc_side = nn.Linear(WIDTHS[-1], embed_dim)

    def normalised(self, levels: Tensor) -> Tensor:
        if self.normalisation == "minmax":
            return (levels.clamp(-80.0, 40.0) + 80.0) / 60.0 - 1.0
        return super().normalised(levels) if self.normalisation == "batchnorm" else levels


def _arguments(path: Path) -> dict[str, Any]:
    try:
        given = yaml.safe_load(path.read_text())["model"]["init_args"]["encoder"]["init_args"]
        wanted = ("embed_dim", "window_size", "hop_size", "mel_bins")
        return {name: given[name] for name in wanted} | {
            name: given[name] for name in ("use_batchnorm", "input_norm") if name in given
        }
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise EmbeddingError(f"{path} is not the config.yaml of AFx-Rep ({error!r}); get it from {SOURCE}") from error
