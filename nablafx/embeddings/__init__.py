"""Embeddings of audio, for distances between sets of files.

Weights lie in $NABLAFX_EMBEDDINGS, else in ~/.cache/nablafx/embeddings, and are never downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from nablafx.embeddings.afx_rep import AFxRep
from nablafx.embeddings.base import Embedding, EmbeddingError
from nablafx.embeddings.clap import CLAP
from nablafx.embeddings.frechet import Gaussian, frechet_distance
from nablafx.embeddings.mel import MelStatistics
from nablafx.embeddings.panns import Cnn14
from nablafx.embeddings.vggish import VGGish

EMBEDDINGS: dict[str, Callable[[], Embedding]] = {
    "mel": MelStatistics,
    "vggish": VGGish.load,
    "panns": Cnn14.load,
    "clap": CLAP.load,
    "afx-rep": AFxRep.load,
}

__all__ = ["EMBEDDINGS", "Embedding", "EmbeddingError", "Gaussian", "frechet_distance", "load_embedding"]


def load_embedding(name: str) -> Embedding:
    """An embedding by its name, ready to be used.

    Raises:
        EmbeddingError: there is none of that name, or its weights are not there; it says where to get them.
    """
    if name not in EMBEDDINGS:
        near = get_close_matches(name, EMBEDDINGS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise EmbeddingError(f"there is no embedding {name}; {hint}there are {', '.join(EMBEDDINGS)}")
    return EMBEDDINGS[name]()
