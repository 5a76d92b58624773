"""Each figure of a file is what was put into it."""

from __future__ import annotations

import numpy as np
import pytest

from nablafx.data.inspection.facts import SILENT_DB
from nablafx.data.inspection.repeats import Repeat
from nablafx.data.inspection.scan import scan
from tests.data.layout import noise, write

RATE = 16_000


def time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def music(seconds: float, pause: bool = True, seed: int = 3) -> np.ndarray:
    """A decaying note of another pitch every half second, and a pause at the end of each."""
    audio, notes = np.zeros(round(seconds * RATE)), np.random.default_rng(seed)
    for start in range(0, len(audio) - RATE // 2 + 1, RATE // 2):
        t = time(0.5)
        audio[start : start + len(t)] = 0.6 * np.exp(-8 * t) * np.sin(2 * np.pi * notes.uniform(90, 700) * t)
        if pause:
            audio[start + int(0.3 * RATE) : start + len(t)] = 0
    return audio


def facts(tmp_path, audio, subtype="FLOAT"):
    return scan(write(tmp_path / "a.wav", audio, RATE, subtype), None).facts


def test_levels_are_those_of_the_loud_and_the_quiet_part(tmp_path):
    """Sines: RMS is amplitude / sqrt(2)."""
    amplitude = np.where(time(10) < 2, 1e-3, 0.5)
    found = facts(tmp_path, amplitude * np.sin(2 * np.pi * 1000 * time(10)))
    assert found.loud_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
    assert found.noise_db == pytest.approx(20 * np.log10(1e-3 / np.sqrt(2)), abs=0.05)
    assert found.rms_db == pytest.approx(10 * np.log10(0.8 * 0.125), abs=0.05)
    assert (found.rate, found.channels, found.encoding, found.frames) == (RATE, 1, "FLOAT", 10 * RATE)


def test_silence_before_the_first_note_is_measured(tmp_path):
    audio = np.concatenate([1e-4 * noise(RATE // 2), music(2)])
    found = facts(tmp_path, audio)
    assert found.lead == pytest.approx(RATE // 2, abs=RATE // 100)
    assert found.lead_db == pytest.approx(-100, abs=0.5)
    assert facts(tmp_path, audio[RATE // 2 :]).lead_db == SILENT_DB


@pytest.mark.parametrize("dc", [0.02, -0.006])
def test_an_offset_is_seen_in_pauses(tmp_path, dc):
    assert facts(tmp_path, music(6) + dc).dc == pytest.approx(dc, rel=0.02)


def test_what_a_device_rectifies_is_no_offset(tmp_path):
    """Its mean is 0.05 and comes and goes with the notes."""
    rectified = np.maximum(music(6), 0)
    assert rectified.mean() > 0.02
    assert facts(tmp_path, rectified).dc == pytest.approx(0, abs=1e-6)
    assert facts(tmp_path, np.tanh(3 * noise(5 * RATE) + 0.2)).dc is None


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_flat_top_below_full_scale_is_seen_with_its_height(tmp_path, subtype):
    audio = music(6, pause=False)
    found = facts(tmp_path, np.clip(audio, -1, 0.3), subtype)
    above = np.concatenate([[False], audio >= 0.3])
    starts = np.flatnonzero(above[1:] & ~above[:-1])
    runs = sum(above[start + 1 : start + 5].all() for start in starts)
    assert found.flat_tops == pytest.approx(runs, rel=0.03)
    assert found.flat_tops > 20
    assert found.flat_peak == pytest.approx(0.3, abs=1e-4)
    assert set(found.clip_places) <= {int(start) + shift for start in starts for shift in (-1, 0, 1)}


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_what_saturates_softly_has_no_flat_top(tmp_path, subtype):
    for audio in (music(6), np.tanh(6 * music(6, pause=False)), 0.5 * np.sin(2 * np.pi * 40 * time(6))):
        assert facts(tmp_path, 0.9 * audio, subtype).flat_tops < 5


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_is_told_from_notes_with_its_level(tmp_path, mains):
    hum = sum(a * np.sin(2 * np.pi * k * mains * time(8) + k) for k, a in ((1, 2e-3), (2, 1e-3), (3, 1e-3)))
    found = facts(tmp_path, music(8) + hum)
    assert found.hum_hz == mains
    assert found.hum_db == pytest.approx(10 * np.log10(6e-6 / 2), abs=2)
    assert facts(tmp_path, music(8)).hum_hz == 0
    assert facts(tmp_path, music(8) + 1e-3 * noise(8 * RATE)).hum_hz == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("second", [3 * RATE, 3 * RATE + 1234])
def test_a_passage_that_comes_again_is_found(tmp_path, second, seed):
    audio = music(8, seed=seed) + 0.01 * noise(8 * RATE)
    audio[second : second + 2 * RATE] = audio[RATE : 3 * RATE]
    found = scan(write(tmp_path / "a.wav", audio, RATE), None).landmarks.repeat()
    assert isinstance(found, Repeat)
    assert found.second - found.first == second - RATE
    assert found.first >= RATE - 1
    assert RATE < found.length <= 2 * RATE


def test_other_music_does_not_repeat(tmp_path):
    assert scan(write(tmp_path / "a.wav", music(30), RATE), None).landmarks.repeat() is None
    assert scan(write(tmp_path / "b.wav", noise(30 * RATE), RATE), None).landmarks.repeat() is None
