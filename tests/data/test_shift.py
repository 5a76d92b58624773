"""Audio between samples agrees with the waves that it was sampled from."""

from __future__ import annotations

import numpy as np
import pytest

from nablafx.data.shift import HALF, shifted

RATE, FRAMES = 48_000, 40_000


def wave(moments: np.ndarray) -> np.ndarray:
    """Sines from 50 Hz to 0.43 of the rate, at any moments (in samples)."""
    return sum(np.sin(2 * np.pi * hz / RATE * moments + hz) for hz in (50, 997, 6001, 20_500))


@pytest.mark.parametrize(("delay", "ppm"), [(7.3, 0), (-3, 0), (-0.25, 0), (2.5, 50), (-40.1, -180), (0, 0)])
def test_sines_are_read_between_their_samples(delay, ppm):
    x = wave(np.arange(FRAMES))
    start, stop = 200, FRAMES - 200
    y = np.concatenate(list(shifted(lambda a, b: x[a:b], FRAMES, delay, ppm, start, stop)))
    n = np.arange(start, stop)
    assert np.abs(y - wave(n + delay + 1e-6 * ppm * n)).max() < 1e-4


def test_beyond_its_ends_is_silence():
    x = np.ones(1000)
    y = np.concatenate(list(shifted(lambda a, b: x[a:b], 1000, 0.5, 0, -200, 1300)))
    assert np.abs(y[: 200 - HALF]).max() == 0
    assert np.abs(y[1200 + HALF :]).max() == 0
    assert np.abs(y[200 + HALF : 1200 - HALF] - 1).max() < 1e-4
