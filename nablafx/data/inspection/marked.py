"""The delay by the marker pulses of a dry file, where it has them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nablafx.data.inspection.drift import Reader
from nablafx.data.markers import MarkerDelay, marker_delay

_WHOLE_S = 180  # a longer file is looked at by its two ends, so that memory does not grow with it
_END_S = 60
_APART_S = 10  # between the first and the last pulse: closer ones tell no drift
_CLEAR_SAMPLES = 1.0  # of drift over the file


class Marked(NamedTuple):
    """delay(n) = start + 1e-6 ppm n; ppm None where the pulses lie too close together."""

    start: float
    ppm: float | None
    drifts: bool
    inverted: bool


def marked(read: Reader, frames: int, rate: int) -> Marked | None:
    """What the pulses of a pair of files tell; None where there are none that are clear."""
    if frames <= _WHOLE_S * rate:
        found = _clear(read, 0, frames, rate)
        if found is None:
            return None
        apart = np.ptp(found.positions) >= _APART_S * rate
        return _told(found, found.delay_samples, found.drift_ppm if apart else None, frames)
    first = _clear(read, 0, _END_S * rate, rate)
    if first is None:
        return None
    at = frames - _END_S * rate
    last = _clear(read, at, frames, rate)
    if last is None:
        return _told(first, first.delay_samples, None, frames)
    # within either end pulses may be too close for a line: their means make one
    early, late = float(first.positions.mean()), float(at + last.positions.mean())
    slope = float(last.lags_samples.mean() - first.lags_samples.mean()) / (late - early)
    return _told(first, float(first.lags_samples.mean()) - slope * early, 1e6 * slope, frames)


def _clear(read: Reader, start: int, stop: int, rate: int) -> MarkerDelay | None:
    found = marker_delay(*read(start, stop), rate)
    return found if found and found.is_clear else None


def _told(found: MarkerDelay, start: float, ppm: float | None, frames: int) -> Marked:
    drifts = ppm is not None and abs(1e-6 * ppm * frames) >= _CLEAR_SAMPLES
    return Marked(start, ppm, drifts, found.inverted)
