"""Marker pulses: found, and read as the delay of signals that were delayed by exact means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from nablafx.data.markers import MARKER_S, find_markers, make_marker, marker_delay

from .clocks import noisy, recorded

RATE = 48_000
STARTS = (0, 120_000, 301_000)


@pytest.fixture(scope="module")
def dry() -> np.ndarray:
    """Three markers with noise between them."""
    audio = 0.1 * np.random.default_rng(0).standard_normal(STARTS[-1] + RATE)
    silence, marker = RATE // 10, make_marker(RATE)
    for start in STARTS:
        audio[max(start - silence, 0) : start + len(marker) + silence] = 0
        audio[start : start + len(marker)] = marker
    return audio


def test_a_marker_is_silent_at_its_ends_and_free_of_dc():
    marker = make_marker(RATE)
    assert len(marker) == MARKER_S * RATE
    assert np.abs(marker).max() == pytest.approx(10 ** (-6 / 20))
    assert abs(marker.sum()) < 1e-12
    assert not marker[: RATE // 20].any()
    assert not marker[-RATE // 5 :].any()


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_every_pulse_is_found_where_it_was_put(rate):
    audio = np.concatenate([make_marker(rate), 0.1 * np.random.default_rng(0).standard_normal(rate), make_marker(rate)])
    first = np.flatnonzero(np.abs(make_marker(rate)) > 0.06)
    expected = [group[len(group) // 2] for group in np.split(first, np.flatnonzero(np.diff(first) > 100) + 1)]
    gap = len(make_marker(rate)) + rate
    np.testing.assert_array_equal(find_markers(audio, rate), [*expected, *(at + gap for at in expected)])


def test_music_and_noise_hold_no_pulses(dry):
    assert not len(find_markers(dry[50_000:110_000], RATE))
    assert not len(find_markers(np.zeros(RATE), RATE))
    assert not len(find_markers(np.sin(np.arange(RATE) / 10), RATE))
    assert marker_delay(dry[50_000:110_000], dry, RATE) is None


@pytest.mark.parametrize(("samples", "drift_ppm"), [(1234.6, 0.0), (1234.6, 30.0), (-310.25, -80.0)])
def test_delay_and_drift_of_an_inverted_and_bent_copy(dry, samples, drift_ppm):
    wet = noisy(-recorded(np.tanh(3 * dry), samples, drift_ppm), -70)
    found = marker_delay(dry, wet, RATE)
    assert found is not None
    assert found.is_clear
    assert found.inverted
    assert found.delay_samples == pytest.approx(samples, abs=0.02)
    assert found.drift_ppm == pytest.approx(drift_ppm, abs=0.05)
    line = samples + 1e-6 * drift_ppm * found.positions
    np.testing.assert_allclose(found.lags_samples, line, atol=0.05)


@pytest.mark.parametrize(("order", "cutoff_hz"), [(1, 10_000), (2, 5000), (4, 5000), (2, 2000)])
def test_the_lag_of_a_filter_is_the_devices_and_stays(dry, order, cutoff_hz):
    sections = signal.butter(order, cutoff_hz / (4 * RATE), output="sos")  # as an analogue one, without warping
    filtered = signal.resample_poly(signal.sosfilt(sections, signal.resample_poly(dry, 8, 1)), 1, 8)
    found = marker_delay(dry, noisy(recorded(filtered, 1234.6), -70), RATE)
    assert found is not None
    assert found.is_clear
    assert not found.inverted
    peak = np.argmax(np.abs(signal.sosfilt(sections, np.eye(1, 4096)[0]))) / 8
    assert -0.2 <= found.delay_samples - 1234.6 <= max(1.5, 0.4 * peak)


def test_a_rectifier_answers_all_pulses_with_one_sign(dry):
    found = marker_delay(dry, noisy(recorded(np.abs(dry), 87.3), -70), RATE)
    assert found is not None
    assert found.is_clear
    assert found.delay_samples == pytest.approx(87.3, abs=0.02)


def test_a_resonance_begins_where_it_is_struck(dry):
    ring = np.exp(-np.arange(3000) / 700) * np.cos(0.3 * np.arange(3000))  # its second swing is nearly as high
    found = marker_delay(dry, noisy(recorded(0.05 * signal.fftconvolve(dry, ring)[: len(dry)], 87.3), -80), RATE)
    assert found is not None
    assert not found.inverted
    assert abs(found.delay_samples - 87.3) < 0.5


def test_the_first_of_several_paths_counts(dry):
    wet = 0.5 * dry
    wet[9:] -= 0.6 * dry[:-9]  # the second is louder, and inverted
    found = marker_delay(dry, noisy(recorded(wet, 87.3), -70), RATE)
    assert found is not None
    assert not found.inverted
    assert found.delay_samples == pytest.approx(87.3, abs=0.1)


def test_hard_distortion_may_come_out_early_and_never_late(dry):
    found = marker_delay(dry, noisy(recorded(np.tanh(1000 * dry), 1234.6), -60), RATE)
    assert found is not None
    assert found.is_clear
    assert -2.5 <= found.delay_samples - 1234.6 <= 0.05


def test_a_recording_that_began_late_lies_where_its_gaps_say(dry):
    found = marker_delay(dry, noisy(dry[RATE:], -70), RATE)
    assert found is not None
    assert found.is_clear
    assert found.delay_samples == pytest.approx(-RATE, abs=0.02)
    alone = marker_delay(dry, noisy(dry[3 * RATE :], -70), RATE)
    assert alone is not None
    assert not alone.is_clear  # one marker of three may be any of them


def test_clicks_at_the_ends_of_other_data_sets_are_pulses():
    audio = np.zeros(8 * RATE)
    audio[2 * RATE : 5 * RATE] = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
    clicks = [RATE // 2, 3 * RATE // 2, 13 * RATE // 2, 15 * RATE // 2]
    audio[clicks] = 0.9
    np.testing.assert_array_equal(find_markers(audio, RATE), clicks)
    found = marker_delay(audio, noisy(recorded(np.tanh(5 * audio), 100.3), -70), RATE)
    assert found is not None
    assert found.is_clear
    assert found.delay_samples == pytest.approx(100.3, abs=0.02)


def test_what_cannot_be_told_is_not_claimed(dry):
    generator = np.random.default_rng(3)
    unrelated = 0.1 * generator.standard_normal(len(dry))
    unrelated[:: RATE // 3] = 0.8  # clicks everywhere fit anywhere
    found = marker_delay(dry, unrelated, RATE)
    assert found is None or not found.is_clear
    assert marker_delay(dry, np.zeros(len(dry)), RATE) is None
    drowned = marker_delay(dry, noisy(dry, -15), RATE)
    assert drowned is None or not drowned.is_clear
