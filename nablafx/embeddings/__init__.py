"""Audio as vectors, and how far apart sets of them are. Trained networks take their weights from a local folder."""

from nablafx.embeddings.afx_rep import AfxRep
from nablafx.embeddings.base import Embedding, resampled
from nablafx.embeddings.clap import Clap
from nablafx.embeddings.files import WeightsError, weights_folder
from nablafx.embeddings.frechet import Gaussian, frechet_distance
from nablafx.embeddings.lookup import UnknownEmbeddingError, embedding, kind
from nablafx.embeddings.mel import MelStatistics
from nablafx.embeddings.panns import Panns16k, Panns32k
from nablafx.embeddings.vggish import VGGish

__all__ = [
    "AfxRep",
    "Clap",
    "Embedding",
    "Gaussian",
    "MelStatistics",
    "Panns16k",
    "Panns32k",
    "UnknownEmbeddingError",
    "VGGish",
    "WeightsError",
    "embedding",
    "frechet_distance",
    "kind",
    "resampled",
    "weights_folder",
]
