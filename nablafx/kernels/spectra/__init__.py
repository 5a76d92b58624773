"""Distances between the magnitudes of short-time spectra."""

from nablafx.kernels.spectra.ops import distance, measure
from nablafx.kernels.spectra.reference import value

__all__ = ["distance", "measure", "value"]
