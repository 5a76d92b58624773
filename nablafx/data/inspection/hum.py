"""Mains hum: lines at multiples of 50 or 60 Hz that are there all the time."""

from __future__ import annotations

import numpy as np

from nablafx.data.inspection.facts import SILENT_DB, decibels

MAINS_HZ = (50, 60)
_LOW_RATE = 1000  # Hz, of the averages that are looked at
_HARMONICS = 6
_AWAY_HZ = (-7, -5, 5, 7)  # neighbours that hold no line of either mains
_ALL_THE_TIME = 0.1  # quantile over seconds: music pauses, hum does not
_SECONDS = 3600  # that are looked at, at most
_LINES = 2  # that must stand out
_STANDS_OUT_DB = 15.0
_AUDIBLE_DB = -90.0


class Hum:
    """Amplitudes of the lines and of their neighbours, second by second."""

    def __init__(self, rate: int) -> None:
        self._step = max(rate // _LOW_RATE, 1)
        self._size = max(round(rate / self._step), 1)
        window = np.hanning(self._size)
        self._window = (window / max(window.sum(), 1e-12)).astype(np.float32)
        self._rows: list[np.ndarray] = []

    def add(self, second: np.ndarray) -> None:
        """The next second of audio; a shorter one, at the end of a file, is left out."""
        needed = self._size * self._step
        if len(second) >= needed and len(self._rows) < _SECONDS:
            averages = second[:needed].reshape(-1, self._step).mean(axis=1)
            spectrum = np.abs(np.fft.rfft(averages * self._window))
            self._rows.append((np.sqrt(2) * spectrum[: MAINS_HZ[-1] * _HARMONICS + 10]).astype(np.float32))

    def found(self) -> tuple[int, float]:
        """The mains in Hz, and the level of its lines; (0, SILENT_DB) where none stands out."""
        if len(self._rows) < 3:
            return 0, SILENT_DB
        steady = np.quantile(np.stack(self._rows), _ALL_THE_TIME, axis=0)
        best = (0, SILENT_DB)
        for mains in MAINS_HZ:
            lines = [line for line in range(mains, mains * _HARMONICS + 1, mains) if line + 7 < len(steady)]
            around = [decibels(float(np.max(steady[[line + away for away in _AWAY_HZ]]))) for line in lines]
            levels = [decibels(float(steady[line])) for line in lines]
            out = [level for level, near in zip(levels, around, strict=True) if level - near >= _STANDS_OUT_DB]
            level = decibels(float(np.sqrt(sum(10 ** (one / 10) for one in out)))) if out else SILENT_DB
            if len(out) >= _LINES and level >= _AUDIBLE_DB and level > best[1]:
                best = mains, level
        return best
