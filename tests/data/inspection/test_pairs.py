"""What is put into real recordings is found, and without it nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from nablafx.data.checks import check_pairs, pair_notes
from nablafx.data.errors import Report
from nablafx.data.files import Pair
from nablafx.data.inspection.cache import Cache
from nablafx.data.inspection.inspect import inspect
from nablafx.data.markers import make_marker
from nablafx.data.shift import shifted
from tests.conftest import ROOT

RATE = 48_000
DRY = ROOT / "demo/DRY/trainval/eguitar-chords.input.flac"
WET = "trainval/{0}/{0}.eguitar-chords.target.flac"
DEVICES = {
    "ZAM-Comp": "P060_R060",
    "GX-TS9": "D100_T080",
    "GX-FuzzFaceJH2": "F070_L050",
    "GX-JCM800Pre": "P080_B050_M050_T050",
}


def recording(device: str) -> tuple[np.ndarray, np.ndarray]:
    wet = ROOT / "demo" / device / WET.format(DEVICES[device])
    return soundfile.read(DRY)[0], soundfile.read(wet)[0]


def compared(folder: Path, dry: np.ndarray, wet: np.ndarray):
    """The facts and the notes of a pair that is written as 32-bit float."""
    paths = folder / "x.input.wav", folder / "x.target.wav"
    for path, audio in zip(paths, (dry, wet), strict=True):
        soundfile.write(path, audio, RATE, subtype="FLOAT")
    facts = inspect([paths], None, Cache(folder)).pairs[paths]
    return facts, list(pair_notes(facts, RATE))


def late(audio: np.ndarray, delay: float, ppm: float = 0.0) -> np.ndarray:
    """x(n - delay - 1e-6 ppm n), nearly: what one clock plays and another records."""
    return np.concatenate(list(shifted(lambda a, b: audio[a:b], len(audio), -delay, -ppm, 0, len(audio))))


def echo(wet: np.ndarray) -> np.ndarray:
    return 0.7 * (wet + 0.5 * np.concatenate([np.zeros(14_400), wet[:-14_400]]))


@pytest.mark.parametrize("device", DEVICES)
def test_shipped_recordings_have_no_fault_but_their_polarity(device, tmp_path):
    paths = [Pair(DRY, ROOT / "demo" / device / WET.format(DEVICES[device]), (), "x")]
    report = Report()
    check_pairs(paths, None, report, Cache(tmp_path))
    inverts = device in ("GX-FuzzFaceJH2", "GX-JCM800Pre")
    assert not report.problems
    assert [line.split(" against")[0] for lines in report.notes.values() for line in lines] == [
        "looks inverted"
    ] * inverts


@pytest.mark.parametrize("device", ["ZAM-Comp", "GX-JCM800Pre"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda y: late(y, 7.3), "late against"),
        (lambda y: late(y, -3), "ahead of"),
        (lambda y: late(y, 0, 50), "drifts against"),
        (echo, "an echo comes 300 ms later"),
    ],
    ids=["late", "ahead", "drift", "echo"],
)
def test_faults_are_found_in_real_recordings(device, fault, said, tmp_path):
    dry, wet = recording(device)
    _, notes = compared(tmp_path, dry, fault(wet))
    notes = [note for note in notes if not note.startswith("looks inverted")]
    assert len(notes) == 1
    assert said in notes[0]


def test_delay_and_drift_of_two_clocks_are_measured(tmp_path):
    dry, wet = recording("ZAM-Comp")
    facts, _ = compared(tmp_path, dry, late(wet, 30.4, 50))
    assert facts.drifts
    assert facts.drift_ppm == pytest.approx(50, abs=1)
    assert facts.delay == pytest.approx(30.4, abs=0.2)


def test_markers_tell_the_delay_of_what_bends_everything_else(tmp_path):
    dry, _ = recording("ZAM-Comp")
    dry = np.concatenate([make_marker(RATE), dry, make_marker(RATE)])
    wet = late(-np.tanh(8 * dry), 431.6, 30)
    facts, notes = compared(tmp_path, dry, wet)
    assert facts.by_markers
    assert facts.delay == pytest.approx(431.6, abs=0.5)
    assert facts.drift_ppm == pytest.approx(30, abs=1)
    assert facts.inverted
    assert any("drifts" in note for note in notes)


@pytest.mark.parametrize(("noise_db", "is_said"), [(-70, False), (-30, True)])
def test_noise_between_two_runs_of_a_passage_is_its_esr(noise_db, is_said, tmp_path):
    """ESR of two noises of one power against the sound: twice their ratio."""
    dry, _ = recording("ZAM-Comp")
    passage = dry[2 * RATE : 5 * RATE]
    dry = np.concatenate([np.zeros(RATE // 2), passage, dry[: 2 * RATE], passage])
    wet = np.tanh(4 * dry)
    wet += 10 ** (noise_db / 20) * np.random.default_rng(0).standard_normal(len(wet))
    facts, notes = compared(tmp_path, dry, wet)
    assert facts.repeat is not None
    first, second, length = facts.repeat
    assert second - first == 5 * RATE
    np.testing.assert_array_equal(dry[first : first + length], dry[second : second + length])
    power = np.mean(wet[first : first + length] ** 2)
    assert facts.repeat_esr == pytest.approx(2 * 10 ** (noise_db / 10) / power, rel=0.1)
    assert any("differs from itself" in note for note in notes) == is_said


def test_a_tail_after_dry_has_stopped_is_measured(tmp_path):
    """Exponential noise of T60 1 s falls by 40 dB, to what no longer counts, in 0.67 s; a fuzz has no tail."""
    dry, _ = recording("ZAM-Comp")
    dry = np.concatenate([dry[: 3 * RATE], np.zeros(2 * RATE)])
    response = np.random.default_rng(0).standard_normal(RATE) * 10 ** (-3 * np.arange(RATE) / RATE)
    response[0] = 20
    size = 1 << 19
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)[: len(dry)] / 60
    facts, notes = compared(tmp_path, dry, wet)
    assert 500 < facts.decay_ms < 800
    assert not facts.decay_open
    assert any("has a long memory" in note for note in notes)
    facts, notes = compared(
        tmp_path, dry, np.tanh(20 * dry) + 1e-3 * np.random.default_rng(1).standard_normal(len(dry))
    )
    assert facts.decay_ms == 0
    assert not any("memory" in note for note in notes)
    assert facts.noise_db == pytest.approx(-60, abs=0.5)
