"""Conditioning of black-box networks by controls and audio, behind one interface."""

from nablafx.conditioning.base import Conditioning, Modulation, Unconditioned
from nablafx.conditioning.film import FiLM
from nablafx.conditioning.fixed import FixedConditioning
from nablafx.conditioning.tfilm import TFiLM, TinyTFiLM
from nablafx.conditioning.tvfilm import TVFiLM

__all__ = [
    "Conditioning",
    "FiLM",
    "FixedConditioning",
    "Modulation",
    "TFiLM",
    "TVFiLM",
    "TinyTFiLM",
    "Unconditioned",
]
