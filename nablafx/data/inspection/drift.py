"""Whether the delay grows over a file, as it does where two clocks ran: one played, the other recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nablafx.data.inspection.alignment import align, fine_delay

POINTS = 9
_WINDOW_S = 3.0
_LEAST_POINTS = 4
_WORST = 2e-4  # clocks of converters differ by less
_REACH = 48  # samples that a point may be off its neighbour and still be found by its phase
_CLEAR_SAMPLES = 6.5  # over the file; filters and what is played move the delay by as much
_CLEAR_OF_SCATTER = 4.0
_NO_CLOCK = 5e-4  # such a slope is of filters and what is played, in short files

Reader = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
"""Dry and wet samples start to stop."""


class Drift(NamedTuple):
    """A line through the delays: delay(n) = start + 1e-6 ppm n.

    Attributes:
        clear: whether it is more than their scatter, and no more than clocks differ by.
        track: (sample, delay there).
    """

    start: float
    ppm: float
    clear: bool
    track: list[tuple[int, float]]


def drift(read: Reader, frames: int, rate: int, near: float, at: int) -> Drift | None:
    """Follow the delay over a file of so many samples, outwards from sample `at`, where it is `near`.

    None where too few places tell it.
    """
    window = int(min(_WINDOW_S * rate, frames / 3))
    places = np.linspace(0, frames - window, POINTS).astype(int)
    first = int(np.abs(places + window / 2 - at).argmin())
    far = (places[1] - places[0]) * _WORST > _REACH
    found: dict[int, float] = {}
    for order in (range(first, POINTS), range(first - 1, -1, -1)):
        last = near if order.step > 0 else found.get(first, near)
        for index in order:
            dry, wet = read(int(places[index]), int(places[index]) + window)
            delay = align(dry, wet, rate).delay if far else _fine(dry, wet, rate, round(last))
            if delay is not None:
                found[index] = last = delay
    if len(found) < _LEAST_POINTS:
        return None
    track = [(int(places[index]) + window // 2, found[index]) for index in sorted(found)]
    return _line(track, frames)


def _fine(dry: np.ndarray, wet: np.ndarray, rate: int, lag: int) -> float | None:
    found = fine_delay(dry, wet, rate, lag)
    return found.delay if found else None


def _line(track: list[tuple[int, float]], frames: int) -> Drift:
    """Theil and Sen: the median of the slopes between all pairs of points, which a wrong point does not move."""
    at, delays = np.array(track).T
    first, second = np.triu_indices(len(at), 1)
    slope = float(np.median((delays[second] - delays[first]) / (at[second] - at[first])))
    start = float(np.median(delays - slope * at))
    scatter = float(np.median(np.abs(delays - start - slope * at)))
    grown = abs(slope) * frames
    clear = grown >= _CLEAR_SAMPLES and grown >= _CLEAR_OF_SCATTER * scatter and abs(slope) <= _NO_CLOCK
    return Drift(start, 1e6 * slope, clear, track)
