"""Equalisers: several sections in series behind one set of parameters."""

from __future__ import annotations

from nablafx.dsp import biquad
from nablafx.processors.base import Range
from nablafx.processors.filters import CookbookFilter

_GAIN: Range = (-12.0, 12.0)
_Q: Range = (0.1, 10.0)


class ParametricEQ(CookbookFilter):
    """Low shelf, three bells and high shelf: 15 parameters."""

    def __init__(
        self,
        sample_rate: int = 48_000,
        low_shelf_gain_db: Range = _GAIN,
        low_shelf_cutoff_hz: Range = (20.0, 2000.0),
        low_shelf_q: Range = _Q,
        peak1_gain_db: Range = _GAIN,
        peak1_cutoff_hz: Range = (20.0, 200.0),
        peak1_q: Range = _Q,
        peak2_gain_db: Range = _GAIN,
        peak2_cutoff_hz: Range = (200.0, 2000.0),
        peak2_q: Range = _Q,
        peak3_gain_db: Range = _GAIN,
        peak3_cutoff_hz: Range = (2000.0, 12_000.0),
        peak3_q: Range = _Q,
        high_shelf_gain_db: Range = _GAIN,
        high_shelf_cutoff_hz: Range = (4000.0, 16_000.0),
        high_shelf_q: Range = _Q,
    ) -> None:
        ranges = {name: given for name, given in locals().items() if name.endswith(("_db", "_hz", "_q"))}
        peaks = dict.fromkeys(("peak1", "peak2", "peak3"), biquad.PEAKING)
        bands = {"low_shelf": biquad.LOWSHELF, **peaks, "high_shelf": biquad.HIGHSHELF}
        super().__init__(sample_rate, bands, **ranges)


class ShelvingEQ(CookbookFilter):
    """High-pass, low shelf, high shelf and low-pass: 10 parameters. Cut-offs are kept under half the sample rate."""

    def __init__(
        self,
        sample_rate: int = 48_000,
        highpass_cutoff_hz: Range = (20.0, 2000.0),
        highpass_q: Range = _Q,
        low_shelf_gain_db: Range = _GAIN,
        low_shelf_cutoff_hz: Range = (20.0, 4000.0),
        low_shelf_q: Range = _Q,
        high_shelf_gain_db: Range = _GAIN,
        high_shelf_cutoff_hz: Range = (4000.0, 24_000.0),
        high_shelf_q: Range = _Q,
        lowpass_cutoff_hz: Range = (4000.0, 24_000.0),
        lowpass_q: Range = _Q,
    ) -> None:
        ranges = {name: given for name, given in locals().items() if name.endswith(("_db", "_hz", "_q"))}
        bands = {
            "highpass": biquad.HIGHPASS,
            "low_shelf": biquad.LOWSHELF,
            "high_shelf": biquad.HIGHSHELF,
            "lowpass": biquad.LOWPASS,
        }
        super().__init__(sample_rate, bands, **ranges)


_WIDE: Range = (-18.0, 18.0)
_LOG_Q: Range = (0.2, 5.0, "log")


class LogParametricEQ(ParametricEQ):
    """As ParametricEQ, its frequencies and Q on logarithmic ranges that overlap: they start near where devices differ,
    and a step of training is as large an interval everywhere."""

    def __init__(
        self,
        sample_rate: int = 48_000,
        low_shelf_gain_db: Range = _WIDE,
        low_shelf_cutoff_hz: Range = (20.0, 1000.0, "log"),
        low_shelf_q: Range = _LOG_Q,
        peak1_gain_db: Range = _WIDE,
        peak1_cutoff_hz: Range = (40.0, 800.0, "log"),
        peak1_q: Range = _LOG_Q,
        peak2_gain_db: Range = _WIDE,
        peak2_cutoff_hz: Range = (200.0, 4000.0, "log"),
        peak2_q: Range = _LOG_Q,
        peak3_gain_db: Range = _WIDE,
        peak3_cutoff_hz: Range = (1000.0, 16_000.0, "log"),
        peak3_q: Range = _LOG_Q,
        high_shelf_gain_db: Range = _WIDE,
        high_shelf_cutoff_hz: Range = (1500.0, 18_000.0, "log"),
        high_shelf_q: Range = _LOG_Q,
    ) -> None:
        super().__init__(**{name: given for name, given in locals().items() if name not in ("self", "__class__")})
