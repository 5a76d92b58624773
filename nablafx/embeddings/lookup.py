"""Embeddings by name."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from nablafx.embeddings.afx_rep import AfxRep
from nablafx.embeddings.base import Embedding
from nablafx.embeddings.clap import Clap
from nablafx.embeddings.files import weights_folder
from nablafx.embeddings.mel import MelStatistics
from nablafx.embeddings.panns import Panns16k, Panns32k
from nablafx.embeddings.vggish import VGGish
from nablafx.errors import UserError

KINDS: tuple[type[Embedding], ...] = (MelStatistics, VGGish, Panns16k, Panns32k, Clap, AfxRep)


class UnknownEmbeddingError(UserError, ValueError):
    """No embedding has that name."""


def kind(name: str) -> type[Embedding]:
    """The class of the embedding `name`.

    Raises:
        UnknownEmbeddingError: there is none.
    """
    kinds = {each.name: each for each in KINDS}
    if name not in kinds:
        near = get_close_matches(str(name), kinds, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownEmbeddingError(f"there is no embedding {name!r}; there are {', '.join(kinds)}.{hint}")
    return kinds[name]


def embedding(name: str, folder: str | Path | None = None) -> Embedding:
    """The embedding `name`, with weights from a folder (default: $NABLAFX_EMBEDDINGS, ~/.cache/nablafx/embeddings).

    Raises:
        UnknownEmbeddingError: there is none.
        WeightsError: its weights are not there, or are not what it needs.
    """
    return kind(name).load(weights_folder() if folder is None else Path(folder).expanduser())
