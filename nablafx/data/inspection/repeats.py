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
        # what is not looked at yet, and a window before it; before the start it is silent
        self._rest = np.zeros(self._size, dtype=np.float32)
        self._start = -self._size
        self._count = 0

    def add(self, block: np.ndarray) -> None:
        """The next samples."""
        audio, size = np.concatenate([self._rest, block]), self._size
        whole = max(len(audio) // size - 2, 0) * size
        if whole and self._count < _MOST:
            found = self._alone(audio[: whole + 2 * size], whole)
            self._places.append(self._start + found)
            self._values.append(audio[found])
            self._count += len(found)
        self._rest = audio[whole:]
        self._start += whole

    def _alone(self, audio: np.ndarray, whole: int) -> np.ndarray:
        """Places, from one window after the start on, of samples that are higher than all within a window of them."""
        size = self._size
        windows = audio[size : size + whole].reshape(-1, size)
        at = size * np.arange(1, len(windows) + 1) + windows.argmax(axis=1)
        high = audio[at]
        # most are overtopped by the highest sample of a window beside them
        passes = high > _LOW
        passes[1:] &= (high[1:] > high[:-1]) | (np.diff(at) > size)
        passes[:-1] &= (high[:-1] > high[1:]) | (np.diff(at) > size)
        at = at[passes]
        around = audio[at[:, None] + np.arange(-size, size + 1)]
        return at[np.count_nonzero(around >= audio[at][:, None], axis=1) == 1]

    def repeat(self) -> Repeat | None:
        """The longest passage that comes again, by its landmarks alone; equality is for whoever reads the samples."""
        if not self._places:
            return None
        places, values = np.concatenate(self._places), np.concatenate(self._values)
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
