"""How long wet goes on with what was played: echoes in the response, and what sounds on when dry has stopped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nablafx.data.inspection.alignment import WIDEST_S, Spectra
from nablafx.data.inspection.scan import STEPS

# Set on recordings of fuzz, overdrive, preamp and compressor, which have no such memory.
_DIRECT_S = 0.02  # what a filter rings
_STEADY = 0.01  # of the mean power of dry, added to it where the response is asked
_SMOOTH_BINS = 65
_OVER_PAST = 2.0  # highest value after the direct sound to the highest before it, which is chance
_OVER_DIRECT = 0.12
_STOPPED_DB = -80.0
_BELOW_DB = 40.0  # of the loud level: what is lower no longer counts
_SHORTEST_GAP = 10  # steps of the envelope
_ENDS = 5  # steps of a gap at either end
_FALLS_DB = 3.0  # from one to the other; what does not fall is noise


class Decay(NamedTuple):
    """How long wet sounded on; `is_open`: it still did when dry came back."""

    ms: float
    is_open: bool


def echo_ms(spectra: Spectra, rate: int, delay: float) -> float | None:
    """The lag behind the direct sound of the strongest later copy, if one stands out.

    The response is H = X* Y / (|X|^2 + c). A device without memory has as much before the direct sound, by chance, as
    after it.
    """
    power = np.convolve(spectra.dry_power, np.ones(_SMOOTH_BINS) / _SMOOTH_BINS, mode="same")
    response = np.fft.irfft(spectra.cross / (power + _STEADY * power.mean() + 1e-30), spectra.size)
    response = np.abs(np.roll(response, -round(delay)))
    direct, widest = int(_DIRECT_S * rate), int(WIDEST_S * rate)
    after, before = response[direct:widest], response[-widest:-direct]
    loud = max(float(response[:direct].max()), float(response[-direct:].max()))
    at = int(after.argmax())
    if after[at] < max(_OVER_PAST * float(before.max()), _OVER_DIRECT * loud):
        return None
    return 1000 * (direct + at) / rate


def decay(dry_power: np.ndarray, wet_power: np.ndarray) -> Decay | None:
    """The longest time that wet stays within 40 dB of its loud level after dry has stopped, from their envelopes.

    None where dry never stops, or wet is not loud when it does.
    """
    count = min(len(dry_power), len(wet_power))
    if not count:
        return None
    stopped = dry_power[:count] <= 10 ** (_STOPPED_DB / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], stopped, [False]]).astype(np.int8)))
    wet = 10 * np.log10(np.maximum(wet_power[:count], 1e-18))
    audible = float(np.quantile(wet, 0.95)) - _BELOW_DB
    longest: Decay | None = None
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if start < 2 or stop - start < _SHORTEST_GAP or wet[start - 2 : start].max() < audible:
            continue
        # the median over neighbours: a click is not a tail
        gap = np.median(np.lib.stride_tricks.sliding_window_view(wet[start:stop], 3), axis=1)
        below = np.flatnonzero(gap < audible)
        ends = wet_power[start : start + _ENDS], wet_power[stop - _ENDS : stop]
        first, last = (10 * np.log10(end.mean() + 1e-18) for end in ends)
        if not len(below) and first - last < _FALLS_DB:
            continue
        ms = 1000 * (int(below[0]) if len(below) else stop - start) / STEPS
        if longest is None or ms > longest.ms:
            longest = Decay(ms, not len(below))
    return longest
