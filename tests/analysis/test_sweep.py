"""A measured response is that of the filter, at its level and with its phase."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from nablafx.analysis import measure_sweep

RATE = 48_000


def filtered(sos):
    return lambda x: torch.from_numpy(signal.sosfilt(sos, x.numpy())).float()


def decibels(response):
    return 20 * np.log10(np.abs(response))


@pytest.mark.parametrize("sign", [1, -1])
def test_identity_is_at_0_degrees_and_inversion_at_180(sign):
    found = measure_sweep(lambda x: sign * 0.5 * x, RATE)
    assert found.freqs_hz[[0, -1]] == pytest.approx([20, 0.45 * RATE])
    np.testing.assert_allclose(found.response, sign * 0.5, atol=1e-4)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_filter_is_found(rate):
    sos = np.concatenate(
        [
            signal.butter(2, [200, 3000], "bandpass", fs=rate, output="sos"),
            signal.butter(1, 8000, fs=rate, output="sos"),
        ]
    )
    found = measure_sweep(filtered(sos), rate)
    _, expected = signal.sosfreqz(sos, found.freqs_hz, fs=rate)
    loud = np.abs(expected) > 1e-2
    np.testing.assert_allclose(decibels(found.response[0, loud]), decibels(expected[loud]), atol=0.1)
    np.testing.assert_allclose(np.angle(found.response[0, loud] / expected[loud]), 0, atol=0.02)


def test_a_peak_is_where_it_is():
    b, a = signal.iirpeak(1000, 30, fs=RATE)
    found = measure_sweep(filtered(signal.tf2sos(b, a)), RATE)
    assert found.freqs_hz[np.argmax(np.abs(found.response[0]))] == pytest.approx(1000, rel=0.01)


def test_a_delay_turns_the_phase():
    found = measure_sweep(lambda x: torch.nn.functional.pad(x, (5, -5)), RATE)
    expected = np.exp(-2j * np.pi * found.freqs_hz * 5 / RATE)
    np.testing.assert_allclose(found.response[0], expected, atol=1e-3)


def test_each_level_has_its_own_gain():
    """Of tanh(3 x): the fundamental of a sine of amplitude a, by the integral over its period."""
    levels = (-40.0, -10.0, 0.0)
    found = measure_sweep(lambda x: torch.tanh(3 * x), RATE, levels)
    phase = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    for level, row in zip(levels, found.response, strict=True):
        a = 10 ** (level / 20)
        expected = 2 * np.mean(np.tanh(3 * a * np.sin(phase)) * np.sin(phase)) / a
        middle = np.abs(row[50:180])  # above, what aliases falls among it
        np.testing.assert_allclose(middle, expected, rtol=0.01)


def test_what_silence_leaves_is_no_answer():
    found = measure_sweep(lambda x: x + 0.3, RATE)
    np.testing.assert_allclose(found.response, 1, atol=1e-4)


def test_it_is_one_pass():
    calls = []

    def run(x):
        calls.append(x.shape)
        return x

    measure_sweep(run, RATE, (-30, -20, -10))
    assert [shape[0] for shape in calls] == [3]
    with pytest.raises(ValueError, match="got no levels"):
        measure_sweep(run, RATE, ())
