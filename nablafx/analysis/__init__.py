"""What an effect does, measured from outside: its response, its distortion, its curve, its gain over time."""

from nablafx.analysis.gain import GainTrace, gain_trace
from nablafx.analysis.sweep import SweepResponse, measure_sweep
from nablafx.analysis.tones import Distortion, TransferLoop, measure_distortion, measure_loop

__all__ = [
    "Distortion",
    "GainTrace",
    "SweepResponse",
    "TransferLoop",
    "gain_trace",
    "measure_distortion",
    "measure_loop",
    "measure_sweep",
]
