"""Levels of audio beside the audio, as a recurrent net hears them."""

from nablafx.kernels.envelopes.ops import levels
from nablafx.kernels.envelopes.reference import level

__all__ = ["level", "levels"]
