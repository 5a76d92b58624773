"""Processors: the blocks of a gray box, each a signal processor whose parameters a controller sets."""

from nablafx.processors.base import Processor, Range, SosProcessor
from nablafx.processors.clipper import AsymmetricClipper
from nablafx.processors.compressor import Compressor, SidechainCompressor
from nablafx.processors.eq import LogParametricEQ, ParametricEQ, ShelvingEQ
from nablafx.processors.filters import Highpass, Highshelf, Lowpass, Lowshelf, Peaking
from nablafx.processors.fir import Cabinet, StaticFIRFilter
from nablafx.processors.first_order import CouplingCapacitor, FirstOrderLowpass
from nablafx.processors.gain import DCOffset, Gain, Mix, PhaseInversion, Polarity
from nablafx.processors.nonlinear import StaticMLPNonlinearity, StaticRationalNonlinearity, TanhNonlinearity
from nablafx.processors.phase import PhaseShift

__all__ = [
    "AsymmetricClipper",
    "Cabinet",
    "Compressor",
    "CouplingCapacitor",
    "DCOffset",
    "FirstOrderLowpass",
    "Gain",
    "Highpass",
    "Highshelf",
    "LogParametricEQ",
    "Lowpass",
    "Lowshelf",
    "Mix",
    "ParametricEQ",
    "Peaking",
    "PhaseInversion",
    "PhaseShift",
    "Polarity",
    "Processor",
    "Range",
    "ShelvingEQ",
    "SidechainCompressor",
    "SosProcessor",
    "StaticFIRFilter",
    "StaticMLPNonlinearity",
    "StaticRationalNonlinearity",
    "TanhNonlinearity",
]
