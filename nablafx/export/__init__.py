"""From a trained model to sound: rendering, streams, bundles, exports for other runtimes, and measurements."""

from nablafx.export.model import Facts, Model
from nablafx.export.reading import read_model
from nablafx.export.streamer import Streamer

__all__ = ["Facts", "Model", "Streamer", "read_model"]
