"""The audio half of CLAP, as transformers has it."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx.embeddings.base import Embedding
from nablafx.embeddings.files import WeightsError, found

# what a whole CLAP has besides
_TEXT = ("text_model.", "text_projection.", "logit_scale")


class Clap(Embedding):
    """512 numbers of length 1 for each 10 s at 48 kHz; a new window begins every second.

    Wu et al. (2023), "Large-scale contrastive language-audio pretraining", arXiv 2211.06687. The network and its
    spectrogram are those of the package transformers, made from a folder in its form that holds config.json,
    preprocessor_config.json and model.safetensors. Of networks that fuse short and long audio, all windows are short.
    """

    name = "clap"
    file = "clap-htsat-unfused"
    source = (
        "config.json, preprocessor_config.json and model.safetensors of https://huggingface.co/laion/clap-htsat-unfused"
    )

    def __init__(self, network: Any, extractor: Any) -> None:
        """
        Args:
            network: a ClapAudioModelWithProjection.
            extractor: a ClapFeatureExtractor.
        """
        super().__init__()
        self.network, self.extractor = network, extractor
        self.size, self.sample_rate = network.config.projection_dim, extractor.sampling_rate
        self.window, self.hop = extractor.nb_max_samples, extractor.sampling_rate

    @classmethod
    def load(cls, folder: Path) -> Clap:
        path = found(cls.name, folder / cls.file, cls.source)
        for file in ("config.json", "preprocessor_config.json", "model.safetensors"):
            found(cls.name, path / file, cls.source)
        if find_spec("transformers") is None:
            raise WeightsError("the embedding clap needs a package: pip install 'nablafx[clap]'")
        return cls(*_read(path, cls.source)).eval()

    def embed(self, windows: Tensor) -> Tensor:
        audio = list(windows.cpu().numpy())
        features = self.extractor(audio, sampling_rate=self.sample_rate, return_tensors="pt")["input_features"]
        # the extractor would call one of them long by chance
        long = torch.zeros(len(windows), 1, dtype=torch.bool, device=windows.device)
        vectors = self.network(input_features=features.to(windows), is_longer=long).audio_embeds
        return F.normalize(vectors, dim=-1)


def _read(path: Path, source: str) -> tuple[Any, Any]:
    from safetensors import SafetensorError

    # not all environments have it, and its types depend on arguments
    transformers: Any = import_module("transformers")
    log = import_module("transformers.utils.logging")
    verbosity = log.get_verbosity()
    log.set_verbosity_error()  # it would list all weights of the half that is left out
    local: dict[str, Any] = {"local_files_only": True}
    try:
        extractor = transformers.ClapFeatureExtractor.from_pretrained(path, **local)
        network, told = transformers.ClapAudioModelWithProjection.from_pretrained(
            path, **local, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, json.JSONDecodeError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({str(error).splitlines()[0]}); download {source} again") from error
    finally:
        log.set_verbosity(verbosity)
    foreign = [name for name in told["unexpected_keys"] if not name.startswith(_TEXT)]
    wrong = [*told["missing_keys"], *told.get("mismatched_keys", ()), *foreign]
    if wrong:
        raise WeightsError(
            f"{path / 'model.safetensors'} does not fit its config.json (such as {wrong[0]}); download {source} again"
        )
    return network, extractor
