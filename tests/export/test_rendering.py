"""Rendering files: equal to the whole signal at once, whatever the length, rate, channels and format."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from nablafx.errors import UserError
from nablafx.export import rendering
from nablafx.export.automation import Automation, read_automation
from nablafx.export.rendering import render_file, run_pieces

from ..cli import nablafx
from .made import DESCRIPTIONS, NAMES, RATE, audio, model
from .test_bundle import written

KNOBS = torch.tensor([[0.2, 0.9]])


def at_once(made, x: np.ndarray, knobs=None) -> np.ndarray:
    """(T, C) through the effect, each channel by itself."""
    rows = torch.from_numpy(np.ascontiguousarray(x.T)).unsqueeze(1)
    with torch.no_grad():
        outputs = [made.effect(row.unsqueeze(0), knobs)[0] for row in rows]
    return torch.cat(outputs).squeeze(1).T.numpy()


def samples(count: int, channels: int = 1) -> np.ndarray:
    return audio(count * channels).reshape(channels, count).T.numpy().copy()


@pytest.mark.parametrize("kind", DESCRIPTIONS)
@pytest.mark.parametrize("count", [1, 255, 256, 1_000])
def test_pieces_give_what_the_whole_gives(kind, count, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "PIECE", 300)  # no multiple of a frame
    made, x = model(kind), samples(count, 2)
    soundfile.write(tmp_path / "in.wav", x, RATE, subtype="FLOAT")
    knobs = KNOBS if made.control_names else None
    render_file(made, tmp_path / "in.wav", tmp_path / "out.wav", knobs)
    y, rate = soundfile.read(tmp_path / "out.wav", always_2d=True)
    assert rate == RATE
    # a piece and the whole take other ways through the loops, and float32 rounds each
    assert np.abs(y - at_once(made, x, knobs)).max() < 2e-6
    assert soundfile.info(tmp_path / "out.wav").subtype == "FLOAT"


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_other_rates_are_resampled_there_and_back(rate, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "PIECE", 1_000)
    made, x = model(), samples(4_321)
    soundfile.write(tmp_path / "in.wav", x, rate, subtype="FLOAT")
    render_file(made, tmp_path / "in.wav", tmp_path / "out.wav", None)
    y, out_rate = soundfile.read(tmp_path / "out.wav", always_2d=True)
    there = soxr.resample(x, rate, RATE, quality="VHQ")
    back = soxr.resample(at_once(made, there), RATE, rate, quality="VHQ")
    assert (len(y), out_rate) == (len(x), rate)
    count = min(len(back), len(y))
    assert count >= len(y) - 1
    assert np.abs(y[:count] - back[:count]).max() < 1e-5


def test_a_resampled_file_stays_in_time(tmp_path):
    """A model that passes audio on leaves a slow sine where it was."""
    made = model()
    made.effect.linear.weight.zero_()
    made.effect.linear.bias.zero_()
    x = 0.01 * np.sin(2 * np.pi * 500 * np.arange(20_000) / 44_100)[:, None].astype(np.float32)
    soundfile.write(tmp_path / "in.wav", x, 44_100, subtype="FLOAT")
    render_file(made, tmp_path / "in.wav", tmp_path / "out.wav", None)
    y, _ = soundfile.read(tmp_path / "out.wav", always_2d=True)
    inner = slice(2_000, -2_000)
    assert np.abs(y[inner] - np.tanh(x[inner])).max() < 1e-6


@pytest.mark.parametrize("ending", ["flac", "aiff", "ogg", "w64", "caf"])
def test_formats_are_those_of_the_ending(ending, tmp_path):
    made, x = model(), samples(9_600)
    soundfile.write(tmp_path / f"in.{ending}", x, RATE)
    heard, _ = soundfile.read(tmp_path / f"in.{ending}", always_2d=True, dtype="float32")
    render_file(made, tmp_path / f"in.{ending}", tmp_path / f"out.{ending}", None)
    y, rate = soundfile.read(tmp_path / f"out.{ending}", always_2d=True)
    error = y - at_once(made, heard)
    assert rate == RATE
    assert np.square(error).mean() < np.square(y).mean() * (0.1 if ending == "ogg" else 1e-8)


def test_what_a_format_cuts_off_is_told(tmp_path):
    made, x = model("chain"), samples(256) * 20
    made.effect.stages["gain"].controller.listener.lstm.bias_ih_l0.fill_(10.0)
    soundfile.write(tmp_path / "in.wav", x, RATE, subtype="FLOAT")
    loud = float(np.abs(at_once(made, x)).max())
    assert loud > 1
    cut = render_file(made, tmp_path / "in.wav", tmp_path / "out.flac", None).cut_peak
    assert cut == pytest.approx(loud, rel=1e-5)
    assert render_file(made, tmp_path / "in.wav", tmp_path / "out.wav", None).cut_peak is None


def test_long_files_are_read_and_run_in_pieces_of_bounded_size(tmp_path, monkeypatch):
    made = model()
    soundfile.write(tmp_path / "in.wav", samples(5 * rendering.PIECE // 2), RATE, subtype="FLOAT")
    lengths = []
    forward = made.effect.forward
    monkeypatch.setattr(made.effect, "forward", lambda x, *rest: lengths.append(x.shape[-1]) or forward(x, *rest))
    seen = []
    render_file(made, tmp_path / "in.wav", tmp_path / "out.wav", None, seen.append)
    assert max(lengths) <= rendering.PIECE
    assert sum(seen) == sum(lengths) == 5 * rendering.PIECE // 2


def test_moving_knobs_are_set_every_hop(monkeypatch):
    """The oracle goes hop by hop."""
    made, x = model("knobbed"), samples(1_000)
    times, values = np.array([0.002, 0.01]), np.array([[0.0, 0.3], [1.0, 0.3]])
    heard = np.concatenate(list(run_pieces(made, iter([x[:300], x[300:]]), Automation(times, values))))
    state, expected = None, []
    for start in range(0, 1_000, 128):
        drive = min(max((start / RATE - 0.002) / 0.008, 0.0), 1.0)
        piece = torch.from_numpy(x[start : start + 128].T.copy()).unsqueeze(0)
        with torch.no_grad():
            y, state = made.effect(piece, torch.tensor([[drive, 0.3]]), state)
        expected.append(y.flatten())
    assert np.abs(heard[:, 0] - torch.cat(expected).numpy()).max() < 1e-6


def test_resting_knobs_do_not_cut_the_audio():
    made = model("knobbed")
    knobs = Automation(np.array([0.0, 1.0, 1.1, 5.0]), np.array([[0.1, 0.5], [0.1, 0.5], [0.4, 0.5], [0.4, 0.5]]))
    stretches = list(rendering._stretches(knobs, 0, 3 * RATE, 128, RATE))
    assert sum(length for _, length in stretches) == 3 * RATE
    assert stretches[0][1] == RATE
    assert stretches[-1][1] > 1.8 * RATE
    assert len(stretches) == pytest.approx(0.1 * RATE / 128, abs=3)
    assert made.control_names == NAMES


def test_automation_is_linear_between_rows_and_held_outside(tmp_path):
    (tmp_path / "a.csv").write_text("time, T\n1, 0\n3, 1\n3, 0.5\n")
    moving = read_automation(tmp_path / "a.csv", NAMES, {"D": 0.2, "T": 0.9})
    for seconds, expected in ((0, 0.0), (1, 0.0), (1.5, 0.25), (2.9, 0.95), (3, 0.5), (9, 0.5)):
        assert moving.at(seconds) == pytest.approx((0.2, expected))
    assert moving.rests_until(0.5) == 1
    assert moving.rests_until(1.5) == 1.5
    assert moving.rests_until(3.5) == math.inf


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("D\n0.5\n", "columns D; it needs time"),
        ("time,X\n0,0.5\n", "any of D, T"),
        ("time,D,D\n0,0.5,0.5\n", "no two of a name"),
        ("time,D\n", "has no rows"),
        ("time,D\n0,2\n", "line 2: D is '2'"),
        ("time,D\n0,nan\n", "line 2: D is 'nan'"),
        ("time,D\n0,\n", "line 2: D is ''"),
        ("time,D\n0\n", "line 2: D is ''"),
        ("time,D\n-1,0.5\n", "seconds from 0 on"),
        ("time,D\n1,0.5\n0.5,0.5\n", "must rise, and 0.5 follows"),
    ],
)
def test_automation_that_cannot_be(content, message, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_automation(tmp_path / "a.csv", NAMES, {"D": 0.5, "T": 0.5})


def test_automation_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="cannot be read"):
        read_automation(tmp_path / "a.csv", NAMES, {})


def test_sample_that_is_no_number_is_found_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "PIECE", 256)
    x = samples(1_000)
    x[700] = np.nan
    soundfile.write(tmp_path / "in.wav", x, RATE, subtype="FLOAT")
    with pytest.raises(UserError, match=r"no number, at 0\.015 s"):
        render_file(model(), tmp_path / "in.wav", tmp_path / "out.wav", None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_a_render_that_is_stopped_leaves_what_was_there(tmp_path):
    soundfile.write(tmp_path / "in.wav", samples(1_000), RATE)
    (tmp_path / "out.wav").write_bytes(b"before")

    def stop(_count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_file(model(), tmp_path / "in.wav", tmp_path / "out.wav", None, stop)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()}["out.wav"] == 6
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read as Linux tells it")
@pytest.mark.parametrize("kind", ["lstm", "tfilm"])
def test_an_hour_takes_less_than_a_gigabyte(kind, tmp_path):
    """In a process of its own, of which the system knows how much memory it ever had; at another rate.

    What getrusage tells begins with the memory of the process that started it.
    """
    bundle = written(tmp_path / "m.nablafx", kind)
    with soundfile.SoundFile(tmp_path / "in.wav", "w", 44_100, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(samples(60 * 44_100))
    code = "import sys; from nablafx.cli import main; main(sys.argv[1:]); print(open('/proc/self/status').read())"
    words = [sys.executable, "-c", code, "process", bundle, tmp_path / "in.wav", tmp_path / "out.wav"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    assert soundfile.info(tmp_path / "out.wav").frames == 3_600 * 44_100
    (most,) = re.findall(r"^VmHWM:\s+(\d+) kB", done.stdout, re.MULTILINE)
    assert int(most) < 1_000_000


class TestCommand:
    """nablafx process."""

    def test_files_and_folders(self, tmp_path):
        bundle = written(tmp_path / "m.nablafx")
        x = samples(1_000)
        for name in ("a.wav", "deep/b.flac", ".hidden.wav", "notes.txt"):
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            if name == "notes.txt":
                (tmp_path / "in" / name).write_text("hello")
            else:
                soundfile.write(tmp_path / "in" / name, x, RATE)
        done = nablafx("process", bundle, tmp_path / "in", tmp_path / "out")
        assert done.status == 0, done.err
        written_files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
        assert written_files == ["a.wav", "deep/b.wav"]
        assert "100 %" in done.out
        heard, _ = soundfile.read(tmp_path / "in" / "a.wav", dtype="float32", always_2d=True)
        y, _ = soundfile.read(tmp_path / "out" / "a.wav", always_2d=True)
        assert np.abs(y - at_once(model(), heard)).max() < 1e-6
        assert nablafx("process", bundle, tmp_path / "in/a.wav", tmp_path / "out").status == 1
        assert nablafx("process", bundle, tmp_path / "in/a.wav", tmp_path / "out", "--overwrite").status == 0

    def test_knobs_and_their_way_over_time(self, tmp_path):
        bundle = written(tmp_path / "m.nablafx", "knobbed")
        x = samples(1_000)
        soundfile.write(tmp_path / "a.wav", x, RATE, subtype="FLOAT")
        (tmp_path / "still.csv").write_text("time,D\n0,0.2\n9,0.2\n")
        ways = ["--controls", "D=0.2,T=0.9"], ["--controls", "T=0.9", "--automation", tmp_path / "still.csv"]
        for way in ways:
            done = nablafx("process", bundle, tmp_path / "a.wav", tmp_path / "b.wav", "--overwrite", *way)
            assert done.status == 0, done.err
            y, _ = soundfile.read(tmp_path / "b.wav", always_2d=True)
            assert np.abs(y - at_once(model("knobbed"), x, KNOBS)).max() < 1e-6

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["{m}", "none.wav", "out.wav"], "no file and no folder none.wav"),
            (["{m}", "{x}", "{x}"], "written over itself"),
            (["{m}", "{x}", "out.xyz"], "no audio file ends in .xyz"),
            (["{m}", "{d}", "{d}/out"], "would be read the next time"),
            (["{m}", "{d}", "{x}"], "is a folder, and"),
            (["{m}", "{d}/empty", "out"], "no audio files in"),
            (["{m}", "{d}/text.wav", "out.wav"], "cannot be read"),
            (["{m}", "{d}/nothing.wav", "out.wav"], "has no audio in it"),
            (["{m}", "{x}", "out.wav", "--controls", "D=0.5"], "has no knobs"),
            (["{m}", "{d}/twins", "out"], "would become one"),
            (["{k}", "{x}", "out.wav", "--controls", "X=0.5"], "there is no knob 'X'"),
            (["{k}", "{x}", "out.wav", "--automation", "none.csv"], "cannot be read"),
        ],
    )
    def test_mistakes_give_one_message_and_no_file(self, words, message, tmp_path, monkeypatch):
        folder = tmp_path / "audio"
        for name in ("empty", "twins"):
            (folder / name).mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        for name in ("x.wav", "twins/a.wav", "twins/a.flac"):
            soundfile.write(folder / name, samples(100), RATE)
        soundfile.write(folder / "nothing.wav", samples(100)[:0], RATE)
        (folder / "text.wav").write_text("hello")
        places = {"m": written(tmp_path / "m.nablafx"), "x": folder / "x.wav", "d": folder}
        places["k"] = written(tmp_path / "k.nablafx", "knobbed")
        before = sorted(tmp_path.rglob("*"))
        done = nablafx("process", *(word.format(**places) for word in words))
        assert done.status == 1
        assert message in done.err
        assert sorted(tmp_path.rglob("*")) == before
