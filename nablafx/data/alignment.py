"""Delay and polarity of a wet recording against its dry one, from their cross-correlation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Set on fuzz, overdrive, preamp and compressor recordings of known latency and polarity, and on filters,
# echoes, reverbs and unrelated audio, so that a doubtful case stays unsaid.
_WIDEST_S = 0.5  # delays looked for, either way
_NEAR_S = 0.002  # what belongs to one peak
_SHORTEST_DELAY_S = 1 / 3000  # tone filters alone move the peak by up to 0.25 ms
_CLEAR = 0.15  # least correlation of a peak; unrelated recordings reach 0.05
_RIVAL = 0.6  # highest second peak elsewhere, as a share of the peak; a steady tone has more


class Alignment(NamedTuple):
    """Delay of wet in samples (0: none that is clear), whether it is inverted, and their correlation."""

    delay: int
    inverted: bool
    correlation: float


class _Peak(NamedTuple):
    lag: int
    value: float
    rival: float
    opposite: float


def align(dry: np.ndarray, wet: np.ndarray, rate: int) -> Alignment:
    """Estimate how wet (N,) lies against dry (N,), both at `rate` Hz.

    Plain correlation of pitched notes has a peak at every period. The cross-spectrum X* Y / |X Y|^p, p below
    1, evens out the harmonics; p = 0.7 places the peak best, p = 0.5 keeps the low notes that carry the
    polarity. A delay or an inversion is claimed only where both agree and no other peak comes near.
    """
    size = 1 << int(len(dry) + _WIDEST_S * rate).bit_length()
    dry_spectrum = np.fft.rfft(dry - dry.mean(), size)
    cross = np.conj(dry_spectrum) * np.fft.rfft(wet - wet.mean(), size)
    place, sign = (_peak(cross, power, size, rate) for power in (0.7, 0.5))
    clear = abs(place.value) >= _CLEAR and place.rival <= _RIVAL and sign.rival <= _RIVAL
    agree = place.value * sign.value > 0 and abs(place.lag - sign.lag) <= _SHORTEST_DELAY_S * rate
    if not clear or not agree:
        return Alignment(0, False, sign.value)
    far = abs(place.lag) > _NEAR_S * rate
    delayed = far or (abs(place.lag) >= _SHORTEST_DELAY_S * rate and place.opposite <= 0.9)
    inverted = sign.value < 0 and sign.opposite <= 0.85 and place.opposite <= 0.95
    return Alignment(place.lag if delayed else 0, inverted, sign.value)


def _peak(cross: np.ndarray, power: float, size: int, rate: int) -> _Peak:
    """The highest peak of the weighted correlation, as a share of what aligned copies would reach."""
    magnitude = np.abs(cross)
    weighted = cross / (magnitude**power + 1e-9 * magnitude.max() ** power + np.finfo(float).tiny)
    full = np.abs(weighted)
    best = (2 * full.sum() - full[0] - full[-1]) / size
    widest, near = int(_WIDEST_S * rate), int(_NEAR_S * rate)
    correlation = np.fft.irfft(weighted, size) / max(best, np.finfo(float).tiny)
    correlation = np.concatenate([correlation[-widest:], correlation[: widest + 1]])
    at = int(np.abs(correlation).argmax())
    value = float(correlation[at])
    around = slice(max(0, at - near), at + near + 1)
    opposite = float((-np.sign(value) * correlation[around]).max())
    correlation[around] = 0
    height = max(abs(value), np.finfo(float).tiny)
    return _Peak(at - widest, value, float(np.abs(correlation).max()) / height, opposite / height)
