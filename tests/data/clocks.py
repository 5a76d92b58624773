"""Signals as another clock records them: later by any number of samples, at a rate that is off by some ppm."""

from __future__ import annotations

import numpy as np

REACH = 32  # samples of the interpolator on either side


def recorded(audio: np.ndarray, delay_samples: float = 0.0, drift_ppm: float = 0.0) -> np.ndarray:
    """wet(m) = audio at n, where m = n + delay_samples + drift_ppm n / 10⁶; by a windowed sinc, silence outside."""
    ratio = 1 + 1e-6 * drift_ppm
    last = int(np.ceil(ratio * len(audio) + delay_samples)) + REACH
    places = (np.arange(max(last, 0)) - delay_samples) / ratio
    whole = np.floor(places).astype(int)
    padded = np.pad(np.asarray(audio, dtype=float), 2 * REACH)
    wet = np.zeros(len(places))
    for tap in range(1 - REACH, REACH + 1):
        away = places - whole - tap
        kernel = np.sinc(away) * np.cos(0.5 * np.pi * away / REACH) ** 2
        wet += kernel * padded[np.clip(whole + tap + 2 * REACH, 0, len(padded) - 1)]
    return wet


def noisy(audio: np.ndarray, level_db: float) -> np.ndarray:
    """The audio with white noise of this RMS, always the same."""
    return audio + 10 ** (level_db / 20) * np.random.default_rng(1).standard_normal(len(audio))
