"""What stretches of a dry signal are for, as its markers tell: the signal needs no second file that describes it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from nablafx.data.markers import find_markers

_TOGETHER_S = 1.05  # between pulses of one group
_BEFORE_S, _AFTER_S = 0.1, 0.32  # of silence around a group that belongs to it
_SHORTEST_S = 1.0
_NAM_RATE, _NAM_VAL = 48_000, 432_000


class Stretch(NamedTuple):
    """Samples start to stop, and whether they train and validate or test."""

    start: int
    stop: int
    part: Literal["trainval", "test"]


class Layout(NamedTuple):
    """The pulses of a dry signal, and the stretches between."""

    name: str
    pulses: np.ndarray
    stretches: tuple[Stretch, ...]


def read_layout(dry: np.ndarray, rate: int, test_seconds: float | None = None) -> Layout:
    """Recognise a dry signal (N,).

    Where groups of pulses stand between stretches, the last stretch is the test. Signals of neural-amp-modeler are
    known by the places of their pulses: versions 1 and 3 have the last 9 s as the test, 2 the 18 s before its last
    pulses (nam/train/core.py there). Anything else is trainval but for its last fifth. test_seconds: take that much
    from the end instead.
    """
    pulses = find_markers(dry, rate)
    groups = np.split(pulses, np.flatnonzero(np.diff(pulses) > _TOGETHER_S * rate) + 1) if len(pulses) else []
    edges = [(int(g[0] - _BEFORE_S * rate), int(g[-1] + _AFTER_S * rate)) for g in groups]
    gaps = _gaps(edges, len(dry), round(_SHORTEST_S * rate))
    if test_seconds is not None:
        return Layout("own", pulses, _by_end(gaps, round(test_seconds * rate)))
    if nam := _nam(pulses, len(dry), rate):
        name, begin, cut = nam
        gaps = [gap for gap in gaps if gap[0] >= begin]
        return Layout(name, pulses, _by_end(gaps, sum(max(stop - max(start, cut), 0) for start, stop in gaps)))
    between = [gap for gap in gaps if gap[0] > 0]
    if len(groups) > 2 and len(between) > 1:
        *train, test = between if edges[-1][1] > between[-1][1] else between[:-1]
        return Layout("capture", pulses, (*(Stretch(*gap, "trainval") for gap in train), Stretch(*test, "test")))
    return Layout("own", pulses, _by_end(gaps, sum(stop - start for start, stop in gaps) // 5))


def _gaps(edges: list[tuple[int, int]], length: int, shortest: int) -> list[tuple[int, int]]:
    """What lies between groups of pulses, if it is long enough."""
    starts = [0, *(stop for _, stop in edges)]
    stops = [*(max(start, 0) for start, _ in edges), length]
    return [(a, b) for a, b in zip(starts, stops, strict=True) if b - a >= shortest]


def _by_end(gaps: list[tuple[int, int]], test: int) -> tuple[Stretch, ...]:
    """The last `test` samples of the gaps as test, all before as trainval."""
    found: list[Stretch] = []
    for start, stop in reversed(gaps):
        cut = max(start, stop - test)
        if cut < stop:
            found.insert(0, Stretch(cut, stop, "test"))
        if start < cut:
            found.insert(0, Stretch(start, cut, "trainval"))
        test -= stop - cut
    return tuple(found)


def _nam(pulses: np.ndarray, length: int, rate: int) -> tuple[str, int, int] | None:
    """Version of a signal of neural-amp-modeler, where its training and where its validation begins; None for others.

    Version 3 begins with the audio that it ends with, which so must not train.
    """
    versions = {
        "NAM 3": ((504_000, 552_000), 480_000, length - _NAM_VAL),
        "NAM 2": ((24_000, 72_000, length - 72_000, length - 24_000), 0, length - 960_000),
        "NAM 1": ((12_000, 36_000), 0, length - _NAM_VAL),
    }
    for name, (places, begin, cut) in versions.items():
        if rate == _NAM_RATE and cut > places[1] and set(places) <= set(pulses.tolist()):
            return name, begin, cut
    return None
