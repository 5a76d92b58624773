"""Mains hum: lines at multiples of 50 or 60 Hz that are there all the time."""

from __future__ import annotations

import numpy as np

from nablafx.data.inspection.facts import SILENT_DB, decibels

MAINS_HZ = (50, 60)
_LOW_RATE = 1000  # Hz, of the averages that are looked at
_PER_SECOND = 5  # windows: short enough for the pauses of music
_HARMONICS = 6
_ALL_THE_TIME = 0.1  # quantile over the windows: music pauses, hum does not
_MOST = 5 * 3600  # windows
_LINES = 2  # that must stand out of what is halfway between them
_STANDS_OUT_DB = 12.0
_AUDIBLE_DB = -90.0
# bins of 5 Hz: each half of a mains frequency holds a line or is halfway between two
_BINS = np.unique([np.arange(1, 2 * _HARMONICS + 2) * (mains // _PER_SECOND // 2) for mains in MAINS_HZ])


class Hum:
    """Amplitudes at multiples of 5 Hz, five times a second."""

    def __init__(self, rate: int) -> None:
        self._step = max(rate // _LOW_RATE, 1)
        self._size = max(round(rate / self._step / _PER_SECOND), 1)
        window = np.hanning(self._size)
        self._window = (window / max(window.sum(), 1e-12)).astype(np.float32)
        self._rows: list[np.ndarray] = []

    def add(self, second: np.ndarray) -> None:
        """The next second of audio; a shorter one, at the end of a file, is left out."""
        needed = self._size * self._step * _PER_SECOND
        if len(second) < needed or len(self._rows) * _PER_SECOND >= _MOST:
            return
        averages = second[:needed].reshape(_PER_SECOND, self._size, self._step).mean(axis=2)
        spectra = np.abs(np.fft.rfft(averages * self._window, axis=1))
        bins = _BINS[spectra.shape[1] > _BINS]
        self._rows.append((np.sqrt(2) * spectra[:, bins]).astype(np.float32))

    def found(self) -> tuple[int, float]:
        """The mains in Hz, and the level of its lines; (0, SILENT_DB) where none stands out."""
        best = (0, SILENT_DB)
        if len(self._rows) < 3:
            return best
        levels = np.quantile(np.concatenate(self._rows), _ALL_THE_TIME, axis=0)
        steady = dict(zip(_BINS.tolist(), levels.tolist(), strict=False))
        for mains in MAINS_HZ:
            line, half = mains // _PER_SECOND, mains // _PER_SECOND // 2
            lines = [at for at in range(line, line * _HARMONICS + 1, line) if at + half in steady]
            out = [
                steady[at]
                for at in lines
                if decibels(steady[at]) - decibels(max(steady[at - half], steady[at + half])) >= _STANDS_OUT_DB
            ]
            level_db = decibels(float(np.sqrt(np.sum(np.square(out)))))
            if len(out) >= _LINES and level_db >= _AUDIBLE_DB and level_db > best[1]:
                best = mains, level_db
        return best
