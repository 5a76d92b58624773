"""Passages that a file plays twice, found by the places of its peaks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_WINDOW_S = 0.05  # a landmark is the highest sample of so much on either side
_LEAST_S = 0.5  # of a passage
_LEAST_MARKS = 4  # in it
_LOW = 0.01  # of full scale: below it a peak is noise
_MOST = 200_000  # landmarks: some hours of music


class Repeat(NamedTuple):
    """A passage and where it is played again, in samples."""

    first: int
    second: int
    length: int


class Landmarks:
    """The peaks of a stream that stand alone. Equal passages have equal ones, wherever they lie."""

    def __init__(self, rate: int) -> None:
        self._size = max(round(_WINDOW_S * rate), 1)
        self._least = _LEAST_S * rate
        self._places: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._rest = np.zeros(0, dtype=np.float32)
        self._seen = 0
        self._count = 0

    def add(self, block: np.ndarray) -> None:
        """The next samples."""
        audio = np.concatenate([self._rest, block])
        whole = len(audio) // self._size * self._size
        windows = audio[:whole].reshape(-1, self._size)
        self._rest = audio[whole:]
        if self._count < _MOST and whole:
            highest = windows.argmax(axis=1)
            starts = self._seen + self._size * np.arange(len(windows))
            self._places.append(starts + highest)
            self._values.append(windows[np.arange(len(windows)), highest])
            self._count += len(windows)
        self._seen += whole

    def repeat(self) -> Repeat | None:
        """The longest passage that comes again, by its landmarks alone; equality is for whoever reads the samples."""
        if not self._places:
            return None
        places, values = np.concatenate(self._places), np.concatenate(self._values)
        inner = (values[1:-1] > values[:-2]) & (values[1:-1] > values[2:]) & (values[1:-1] > _LOW)
        places, values = places[1:-1][inner], values[1:-1][inner]
        if len(places) < 2 * _LEAST_MARKS:
            return None
        # a landmark is known by its height and by the way to the next one and its height
        key = np.stack([np.round(values[:-1] * 2**15), np.diff(places), np.round(values[1:] * 2**15)], axis=1)
        _, same = np.unique(key, axis=0, return_inverse=True)
        same = same.reshape(-1)
        order = np.lexsort((places[:-1], same))
        neighbours = same[order][1:] == same[order][:-1]
        first, second = order[:-1][neighbours], order[1:][neighbours]
        lags = places[second] - places[first]
        return self._longest(places, first, second, lags)

    def _longest(self, places: np.ndarray, first: np.ndarray, second: np.ndarray, lags: np.ndarray) -> Repeat | None:
        """Consecutive landmarks at one lag make a passage."""
        best: Repeat | None = None
        for lag in np.unique(lags):
            marks = np.sort(first[lags == lag])
            if len(marks) < _LEAST_MARKS - 1:
                continue
            cuts = np.flatnonzero(np.diff(marks) > 1) + 1
            for run in np.split(marks, cuts):
                start, stop = int(places[run[0]]), int(places[run[-1] + 1])
                # a passage and its repeat do not overlap
                length = min(stop - start, int(lag))
                if len(run) >= _LEAST_MARKS - 1 and length >= self._least and (not best or length > best.length):
                    best = Repeat(start, start + int(lag), length)
        return best
