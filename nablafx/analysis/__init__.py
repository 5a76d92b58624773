"""What an effect does, measured from outside: response, distortion, curve, gain over time; and how loud audio is."""

from nablafx.analysis.gain import GainTrace, gain_trace
from nablafx.analysis.loudness import crest_factor_db, integrated_loudness
from nablafx.analysis.sweep import SweepResponse, measure_sweep
from nablafx.analysis.tones import Distortion, TransferLoop, measure_distortion, measure_loop

__all__ = [
    "Distortion",
    "GainTrace",
    "SweepResponse",
    "TransferLoop",
    "crest_factor_db",
    "gain_trace",
    "integrated_loudness",
    "measure_distortion",
    "measure_loop",
    "measure_sweep",
]
