"""CLAP: Wu et al., "Large-scale contrastive language-audio pretraining with feature fusion and keyword-to-caption
augmentation", ICASSP 2023."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from nablafx.embeddings.base import Embedding, EmbeddingError, weights_file

FOLDER = "clap-htsat-unfused"
SOURCE = "https://huggingface.co/laion/clap-htsat-unfused (config.json, preprocessor_config.json and model.safetensors)"


class CLAP(Embedding):
    """Windows of ten seconds at 48 kHz through the audio tower of a CLAP, to vectors of length 1.

    The network is that of the package transformers (`pip install 'nablafx[clap]'`), read from a folder on disk.
    """

    sample_rate = 48_000
    window = 480_000
    hop = 240_000

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        self.model, self.extractor = model, extractor
        self.size = model.config.projection_dim

    @classmethod
    def load(cls) -> CLAP:
        """From the folder `clap-htsat-unfused` in the folder of weights. Raises EmbeddingError."""
        path = weights_file("clap", FOLDER, SOURCE)
        if find_spec("transformers") is None:
            raise EmbeddingError("the embedding clap needs a package: pip install 'nablafx[clap]'")
        from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

        try:
            # safetensors hold no code, and none is fetched
            model = ClapAudioModelWithProjection.from_pretrained(path, local_files_only=True, use_safetensors=True)
            extractor = ClapFeatureExtractor.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            told = str(error).strip().splitlines()[0]
            raise EmbeddingError(f"{path}, for the embedding clap, cannot be read ({told}); get {SOURCE}") from error
        return cls(model, extractor).eval()

    def embed(self, windows: Tensor) -> Tensor:
        inputs = self.extractor(list(windows.numpy()), sampling_rate=self.sample_rate, return_tensors="pt")
        return F.normalize(self.model(**inputs).audio_embeds, dim=-1)
