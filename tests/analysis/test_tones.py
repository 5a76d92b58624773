"""Distortion and aliasing of curves whose harmonics are known by algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx.analysis import gain_trace, measure_distortion, measure_loop

RATE = 48_000
A = 10 ** (-12 / 20)


def chebyshev(x):
    """c1 x + c2 T2 + c3 T3 of x / A: of a sine it gives harmonics of these amplitudes, times A for the first."""
    t = x / A
    return x + 0.1 * A * (2 * t**2 - 1) + 0.02 * A * (4 * t**3 - 3 * t)


def test_harmonics_have_the_amplitudes_of_the_polynomial():
    found = measure_distortion(chebyshev, RATE, -12, last_hz=7000)
    fundamental = 1 - 0.0  # a sine: T3(sin) = -sin(3 φ), and leaves the fundamental alone
    np.testing.assert_allclose(np.abs(found.gain), fundamental, rtol=1e-4)
    np.testing.assert_allclose(found.even, 0.1**2, rtol=1e-3)
    np.testing.assert_allclose(found.odd, 0.02**2, rtol=1e-3)
    assert found.inharmonic.max() < 1e-12
    np.testing.assert_allclose(found.thd, np.hypot(0.1, 0.02), rtol=1e-3)


def test_a_harmonic_beyond_half_the_rate_aliases():
    """Of a sine of 10 kHz the third is at 30 kHz, and comes back at 18: no harmonic any more."""
    found = measure_distortion(lambda x: x + 0.02 * A * (4 * (x / A) ** 3 - 3 * x / A), RATE, -12, last_hz=10_000)
    last = found.freqs_hz > 8000
    assert found.freqs_hz[-1] == pytest.approx(10_000, rel=0.001)
    np.testing.assert_allclose(found.inharmonic[last], 0.02**2, rtol=1e-3)
    assert found.odd[last].max() < 1e-10
    assert found.inharmonic[~last].max() < 1e-10
    assert found.aliasing_to_signal == pytest.approx(last.mean() * 0.02**2, rel=0.01)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gain_has_a_phase(sign):
    found = measure_distortion(lambda x: sign * 0.25 * x, RATE)
    np.testing.assert_allclose(found.gain, sign * 0.25, atol=1e-5)


def test_tones_are_one_pass():
    calls = []

    def run(x):
        calls.append(x.shape[0])
        return x

    found = measure_distortion(run, RATE, count=7)
    assert calls == [len(found.freqs_hz)] == [7]
    with pytest.raises(ValueError, match="got 0 sines"):
        measure_distortion(run, RATE, count=0)


def test_a_curve_without_memory_is_a_line_and_memory_opens_it():
    line = measure_loop(lambda x: torch.tanh(2 * x), RATE, -6)
    np.testing.assert_allclose(line.y, np.tanh(2 * line.x), atol=1e-6)
    assert np.abs(line.x).max() == pytest.approx(10 ** (-6 / 20), rel=1e-4)
    assert line.frequency_hz == pytest.approx(110, rel=0.01)
    late = measure_loop(lambda x: torch.nn.functional.pad(x, (20, -20)), RATE)
    # (area of the ellipse) = π a² sin of the phase
    area = 0.5 * np.abs(np.dot(late.x, np.roll(late.y, 1)) - np.dot(late.y, np.roll(late.x, 1)))
    phase = 2 * np.pi * late.frequency_hz * 20 / RATE
    assert area == pytest.approx(np.pi * np.sin(phase), rel=0.01)


def test_a_gain_trace_follows_the_gain():
    rng = np.random.default_rng(0)
    x = 0.1 * rng.standard_normal(RATE).astype(np.float32)
    x[: RATE // 4] = 0
    gain_db = np.repeat([0.0, -6.0, -12.0, 3.0], RATE // 4)
    trace = gain_trace(x, x * 10 ** (gain_db / 20), RATE)
    assert np.isnan(trace.gain_db[trace.times < 0.24]).all()
    for start, gain in ((0.26, -6), (0.51, -12), (0.76, 3)):
        within = (trace.times > start) & (trace.times < start + 0.22)
        np.testing.assert_allclose(trace.gain_db[within], gain, atol=1e-4)
    with pytest.raises(ValueError, match="got 48000 and 47999 samples"):
        gain_trace(x, x[:-1], RATE)
