"""Each fault of a recording is found, with its figure, its file and its fix, and nothing else is."""

from __future__ import annotations

import re
import tracemalloc
import warnings

import numpy as np
import pytest

from nablafx.data import DataError, DataWarning
from nablafx.data.checks import check_pairs
from nablafx.data.errors import Report
from nablafx.data.files import Pair
from nablafx.data.inspection.cache import Cache
from nablafx.data.inspection.scan import scan
from tests.data.layout import RATE, noise, write


def told(report: Report) -> tuple[str, str]:
    """The error's and the warning's text."""
    error = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        try:
            report.settle()
        except DataError as raised:
            error = str(raised)
    return error, "".join(str(one.message) for one in caught)


def file_text(path, channel=None) -> tuple[str, str]:
    report = Report()
    check_pairs([Pair(path, None, (), "a")], channel, report, Cache(path.parent))
    return told(report)


def with_value(value: float, at: int) -> np.ndarray:
    audio = noise(3 * RATE)
    audio[at] = value
    return audio


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (with_value(np.nan, 2 * RATE + 400), "has 1 NaN or Inf samples, the first at 2.050 s"),
        (with_value(-np.inf, 0), "has 1 NaN or Inf samples, the first at 0.000 s"),
        (np.zeros(100, np.float32), "is silent (peak all zero"),
        (np.full(100, 2e-5, np.float32), "is silent (peak -94 dBFS"),
        (np.zeros(0, np.float32), "holds no samples"),
        (np.stack([noise(100)] * 2, axis=1), "has 2 channels, and one is modelled: name it (`channel: left`"),
    ],
)
def test_unusable_files(tmp_path, audio, words):
    path = write(tmp_path / "a.wav", audio)
    error, warning = file_text(path)
    assert f"{path}\n  - {words}" in error
    assert not warning


def test_files_that_are_no_audio_or_cut_off_are_said_to_be_unreadable(tmp_path):
    junk = tmp_path / "junk.wav"
    junk.write_bytes(b"not audio")
    flac = write(tmp_path / "a.flac", noise(RATE), subtype="PCM_16")
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    for path in (junk, flac):
        assert f"{path}\n  - cannot be read" in file_text(path)[0]


def test_quiet_and_loud_files_pass(tmp_path):
    for name, peak in {"quiet": 4e-5, "loud": 0.99}.items():
        audio = noise(RATE)
        assert file_text(write(tmp_path / f"{name}.wav", audio * peak / np.abs(audio).max())) == ("", "")


@pytest.mark.parametrize("at", [10, RATE - 2, RATE - 4, RATE, 2 * RATE - 6])
@pytest.mark.parametrize(("length", "runs"), [(3, 0), (4, 1), (9, 1)])
def test_clipping_is_counted_across_block_borders(tmp_path, at, length, runs):
    """One block is a second; a run of four or more samples counts once wherever it lies."""
    audio = noise(2 * RATE)
    audio[at : at + length] = -1.0
    if at + length > 2 * RATE:
        length = 2 * RATE - at
    _, warning = file_text(write(tmp_path / "a.wav", audio))
    assert (f"clips: {runs} runs of 4 or more" in warning) == (runs > 0)


def test_separate_clipped_runs_are_counted_each(tmp_path):
    audio = noise(RATE)
    for start in (0, 100, 105, 200):
        audio[start : start + 4] = 1.0
    assert "clips: 4 runs" in file_text(write(tmp_path / "a.wav", audio, subtype="PCM_16"))[1]


def test_the_loudest_ten_seconds_are_found(tmp_path):
    audio = 0.01 * noise(30 * RATE)
    audio[15 * RATE : 25 * RATE] *= 50
    assert scan(write(tmp_path / "a.wav", audio), None).facts.loudest == 15 * RATE


def test_a_file_is_read_in_bounded_memory(tmp_path):
    path = write(tmp_path / "a.wav", noise(200 * RATE))
    tracemalloc.start()
    scan(path, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


def pair_text(tmp_path, dry, wet, dry_rate=RATE, wet_rate=RATE) -> tuple[str, str]:
    report = Report()
    x = write(tmp_path / "a.input.wav", dry, rate=dry_rate)
    y = write(tmp_path / "a.target.wav", wet, rate=wet_rate)
    check_pairs([Pair(x, y, (), "a")], None, report, Cache(tmp_path))
    return told(report)


def test_other_length_and_other_rate_are_problems(tmp_path):
    x = noise(4000)
    assert (
        "a.target.wav\n  - has 3900 samples, 100 fewer than its dry file a.input.wav with 4000: cut or pad"
        in (pair_text(tmp_path, x, x[:3900])[0])
    )
    assert "has 4000 samples, 100 more than" in pair_text(tmp_path, x[:3900], x)[0]
    assert (
        "a.target.wav\n  - is at 44100 Hz, its dry file a.input.wav at 48000 Hz: export both at one rate"
        in (pair_text(tmp_path, x, x, 48000, 44100)[0])
    )


def test_delay_and_inversion_are_said_with_their_figures_and_not_refused(tmp_path):
    x = noise(4 * RATE)
    late = np.concatenate([np.zeros(80, np.float32), -x[:-80]])
    error, warning = pair_text(tmp_path, x, late)
    assert not error
    assert re.search(r"a.target.wav\n  - looks inverted against its dry file \(correlation -(0.[89]\d|1.00)\)", warning)
    assert "looks 80.0 samples (10.00 ms) late against its dry file: compensate the latency" in warning
    assert "looks 80.0 samples (10.00 ms) ahead of its dry file" in pair_text(tmp_path, late, x)[1]
    assert pair_text(tmp_path, x, 0.5 * x) == ("", "")


def test_one_error_tells_every_problem_of_every_file(tmp_path):
    report = Report()
    pairs = []
    faults = {"nan": with_value(np.nan, 5), "short": noise(100), "silent": np.zeros(3 * RATE, np.float32)}
    for name, wet in faults.items():
        x = write(tmp_path / f"{name}.input.wav", noise(3 * RATE))
        pairs.append(Pair(x, write(tmp_path / f"{name}.target.wav", wet), (), name))
    check_pairs(pairs, None, report, Cache(tmp_path))
    error, _ = told(report)
    assert error.startswith("The data set cannot be used (3 places):")
    for name in faults:
        assert f"{name}.target.wav\n  - " in error
