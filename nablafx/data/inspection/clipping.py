"""Runs of samples that stand still at the top: at full scale, or at the file's own highest or lowest value below it."""

from __future__ import annotations

import numpy as np

RUN = 4  # consecutive samples: fewer is a peak, not clipping
FULL_SCALE = 0.999
_NEAR_TOP = 0.99
_SAME = 2e-4  # values of one flat top differ by no more, as a share of it
_CORNER = 0.002  # least step into a flat top, as a share of it: what saturates comes to rest by and by
_PLACES = 200  # that are kept


class Clipping:
    """Counts over the blocks of a stream; a run counts once, wherever blocks are cut."""

    def __init__(self) -> None:
        self.full = 0
        self.places: list[int] = []
        self.high, self.low = 0.0, 0.0
        self._flat: dict[float, list[int]] = {}  # by value: how many runs, and where the first began
        self._past = np.zeros(RUN, dtype=np.float32)
        self._seen = 0

    def add(self, block: np.ndarray) -> None:
        """The next samples."""
        self.high, self.low = max(self.high, float(block.max())), min(self.low, float(block.min()))
        audio = np.concatenate([self._past, block])
        offset = self._seen - RUN
        if self.high >= FULL_SCALE or self.low <= -FULL_SCALE:
            starts = _starts(np.abs(audio) >= FULL_SCALE, RUN)
            self.full += len(starts)
            self.places += [offset + int(at) for at in starts[: _PLACES - len(self.places)]]
        # equality of neighbours leaves few to look at
        starts = _starts(audio[1:] == audio[:-1], RUN - 1)
        corner = np.abs(audio[starts] - audio[starts - 1]) >= _CORNER * np.abs(audio[starts])
        starts = starts[corner & self._near_top(audio[starts])]
        values, first, counts = np.unique(audio[starts], return_index=True, return_counts=True)
        for value, at, count in zip(values.tolist(), starts[first].tolist(), counts.tolist(), strict=True):
            runs = self._flat.setdefault(value, [0])
            runs[0] += count
            if len(runs) <= _PLACES:
                runs.append(offset + at)
        self._flat = {value: runs for value, runs in self._flat.items() if self._near_top(np.array([value]))[0]}
        self._past = audio[-RUN:]
        self._seen += len(block)

    def flat_tops(self) -> tuple[int, float, list[int]]:
        """Runs at the highest value, or at the lowest, below full scale; that value, and where they begin."""
        best: tuple[int, float, list[int]] = (0, 0.0, [])
        for top in (self.high, self.low):
            if not 0 < abs(top) < FULL_SCALE:
                continue
            same = [runs for value, runs in self._flat.items() if abs(value - top) <= _SAME * abs(top)]
            count = sum(runs[0] for runs in same)
            if count > best[0]:
                best = count, top, sorted(at for runs in same for at in runs[1:])
        return best

    def _near_top(self, values: np.ndarray) -> np.ndarray:
        return ((values > 0) & (values >= _NEAR_TOP * self.high)) | ((values < 0) & (values <= _NEAR_TOP * self.low))


def _starts(holds: np.ndarray, length: int) -> np.ndarray:
    """Where runs of `length` or more begin, after the first entry: a run from there belongs to the past."""
    every = holds.copy()
    for shift in range(1, length):
        every[:-shift] &= holds[shift:]
        every[-shift:] = False
    return np.flatnonzero(every[1:] & ~holds[:-1]) + 1
