"""Delay and polarity are found where they were put, and nothing is claimed where nothing is clear."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import soundfile

from nablafx.data.inspection.alignment import align

RATE = 48_000
SOURCES = ("trainval/ebass-riffs", "trainval/eguitar-chords", "test/t-eguitar")
DEVICES = {
    "GX-FuzzFaceJH2/{part}/F070_L050/F070_L050.{name}": True,
    "GX-JCM800Pre/{part}/P080_B050_M050_T050/P080_B050_M050_T050.{name}": True,
    "GX-TS9/{part}/D100_T080/D100_T080.{name}": False,
    "ZAM-Comp/{part}/P060_R060/P060_R060.{name}": False,
}


def shifted(audio: np.ndarray, delay: int) -> np.ndarray:
    padded = np.pad(audio, abs(delay))
    return padded[abs(delay) - delay : len(padded) - abs(delay) - delay]


def pair(root, device: str, source: str) -> tuple[np.ndarray, np.ndarray]:
    part, name = source.split("/")
    dry, _ = soundfile.read(root / f"demo/DRY/{source}.input.flac", dtype="float32")
    path = device.format(part=part, name=name)
    wet, _ = soundfile.read(root / f"demo/{path}.target.flac", dtype="float32")
    return dry, wet


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("device", DEVICES)
def test_real_recordings_are_aligned_and_of_known_polarity(root, device, source):
    found = align(*pair(root, device, source), RATE)
    assert -0.1 <= found.delay <= 3.5
    assert found.inverted == DEVICES[device]
    assert found.correlation < 0 if DEVICES[device] else found.correlation > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("delay", [-300, -3, 7.3, 200, 9600])
def test_a_delay_put_into_a_real_recording_is_found(root, device, delay):
    """Against what the recording shows without: whole samples are moved, fractions turned in the spectrum."""
    dry, wet = pair(root, device, SOURCES[2])
    before = align(dry, wet, RATE).delay
    found = align(dry, -(shifted(wet, delay) if isinstance(delay, int) else turned(wet, delay)), RATE)
    assert found.delay - before == pytest.approx(delay, abs=0.1)
    assert found.inverted != DEVICES[device]


def turned(audio: np.ndarray, delay: float) -> np.ndarray:
    """Late by a fraction too: every frequency f by the phase 2 pi f delay."""
    size = 2 * len(audio)
    spectrum = np.fft.rfft(audio, size) * np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size * delay)
    return np.fft.irfft(spectrum, size)[: len(audio)]


@pytest.mark.parametrize("delay", [-400, 0, 17, 4000])
@pytest.mark.parametrize("gain", [0.01, -3.0])
def test_exact_copies_give_exact_figures(delay, gain):
    x = np.random.default_rng(0).standard_normal(RATE)
    found = align(x, gain * shifted(x, delay), RATE)
    assert found.delay == pytest.approx(delay, abs=1e-3)
    assert found.inverted == (gain < 0)
    assert abs(abs(found.correlation) - 1) < 0.1


def test_filters_echoes_and_tremolo_are_no_delay_and_no_inversion(root):
    dry, _ = pair(root, next(iter(DEVICES)), SOURCES[2])
    low = scipy.signal.sosfilt(scipy.signal.butter(2, 1000, fs=RATE, output="sos"), dry)
    high = scipy.signal.sosfilt(scipy.signal.butter(1, 500, "high", fs=RATE, output="sos"), dry)
    echo = dry + 0.5 * shifted(dry, 14400)
    tremolo = dry * (0.5 + 0.5 * np.sin(2 * np.pi * 5 * np.arange(len(dry)) / RATE))
    for wet in (low, high, echo, tremolo):
        found = align(dry, wet, RATE)
        assert found.delay is None or -0.1 < found.delay < 1
        assert not found.inverted


def test_unrelated_steady_and_empty_audio_claim_nothing(root):
    dry, _ = pair(root, next(iter(DEVICES)), SOURCES[2])
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    unrelated = np.random.default_rng(1).standard_normal(len(dry))
    cases = [(dry, dry[::-1]), (dry, unrelated), (tone, np.roll(-tone, 5)), (dry, 0 * dry), (dry[:1], dry[:1])]
    for x, y in cases:
        found = align(x, y, RATE)
        assert (found.delay, found.inverted) == (None, None)
        assert np.isfinite(found.correlation)
