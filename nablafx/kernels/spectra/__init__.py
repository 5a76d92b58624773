"""Distances between the magnitudes of short-time spectra."""

from nablafx.kernels.spectra.ops import distance

__all__ = ["distance"]
