"""nablafx check-data as a user calls it: what it prints, writes, refuses and mends."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from nablafx.data.shift import shifted
from tests.cli import nablafx
from tests.conftest import ROOT

RATE = 48_000
SETTING = "P060_R060"


def late(audio: np.ndarray, delay: float, ppm: float = 0.0) -> np.ndarray:
    return np.concatenate(list(shifted(lambda a, b: audio[a:b], len(audio), -delay, -ppm, 0, len(audio))))


FAULTS = {
    "eguitar-chords": lambda y: late(y, 7.3),
    "ebass-riffs": lambda y: late(-y, 40.25, 60),
    "t-eguitar": lambda y: late(y, -3)[:-500],
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """The shipped compressor with a fault in each recording: late, drifting and inverted, ahead and short."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copytree(ROOT / "demo/DRY", folder / "DRY")
    for wet in (ROOT / "demo/ZAM-Comp").rglob("*.flac"):
        target = folder / "PEDAL" / wet.relative_to(ROOT / "demo/ZAM-Comp").with_suffix(".wav")
        target.parent.mkdir(parents=True, exist_ok=True)
        audio, rate = soundfile.read(wet)
        soundfile.write(target, FAULTS[wet.name.split(".")[1]](audio), rate, subtype="FLOAT")
    (folder / "pedal.yaml").write_text(f"data: {{dry: {folder / 'DRY'}, wet: {folder / 'PEDAL'}}}\n")
    return folder


@pytest.fixture(scope="module")
def mended(faulty, tmp_path_factory):
    """(what was printed, the folder of figures, the folder of copies)."""
    out, fixed = tmp_path_factory.mktemp("out") / "figures", tmp_path_factory.mktemp("fixed") / "set"
    before = {path: path.read_bytes() for path in faulty.rglob("*") if path.is_file()}
    done = nablafx("check-data", "-c", faulty / "pedal.yaml", "--out", out, "--fix", fixed, "--fix-polarity")
    assert {path: path.read_bytes() for path in faulty.rglob("*") if path.is_file()} == before
    return done, out, fixed


def test_faults_are_told_with_their_figures(mended):
    done, _, _ = mended
    assert done.status == 1
    assert "1 place has problems that would stop a training" in done.err
    assert "500 fewer than its dry file t-eguitar.input.flac" in done.out
    assert "looks 7.3 samples (0.15 ms) late against its dry file" in done.out
    drift = re.search(r"its clock ran (\d+) ppm slower, from \+(\d+\.\d) samples", done.out)
    assert abs(int(drift[1]) - 60) <= 3  # 5 s of bass: half a sample
    assert abs(float(drift[2]) - 40.25) <= 0.6
    assert "looks inverted" in done.out
    row = next(line for line in done.out.splitlines() if "ebass-riffs.target.wav" in line)
    assert {"inverted", f"+{drift[1]}", "look"} <= set(row.split())


def test_figures_can_be_read_back_and_faults_are_drawn(mended):
    _, out, _ = mended
    with (out / "figures.csv").open() as file:
        by_name = {row["file"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    assert len(by_name) == 6
    assert float(by_name[f"{SETTING}.eguitar-chords.target.wav"]["delay"]) == pytest.approx(7.3, abs=0.1)
    entries = {entry["file"].rpartition("/")[2]: entry for entry in json.loads((out / "figures.json").read_text())}
    assert entries[f"{SETTING}.ebass-riffs.target.wav"]["pair"]["drifts"]
    assert len(entries[f"{SETTING}.ebass-riffs.target.wav"]["pair"]["track"]) >= 4
    assert entries["ebass-riffs.input.flac"]["facts"]["encoding"] == "PCM_16"
    pictures = sorted(path.name for path in out.glob("*.png"))
    part = f"trainval-{SETTING}-{SETTING}"
    assert f"{part}.ebass-riffs.target.wav.png" in pictures
    assert len(pictures) == 3


def test_copies_are_the_original_again(mended, faulty):
    """But for what is lost at the ends, and the precision of the delay."""
    _, _, fixed = mended
    for wet in (ROOT / "demo/ZAM-Comp").rglob("*.flac"):
        copy = fixed / "PEDAL" / wet.relative_to(ROOT / "demo/ZAM-Comp").with_suffix(".wav")
        truth, made = soundfile.read(wet)[0], soundfile.read(copy)[0]
        part, name = copy.parts[-3], copy.name.split(".")[1]
        dry, kept = (soundfile.read(place / "DRY" / part / f"{name}.input.flac")[0] for place in (faulty, fixed))
        assert len(made) == len(kept)
        lead = int(np.flatnonzero([np.array_equal(dry[i : i + 1000 + RATE], kept[: 1000 + RATE]) for i in range(9)])[0])
        np.testing.assert_array_equal(kept, dry[lead : lead + len(kept)])
        truth = truth[lead : lead + len(made)]
        error = np.sum((made - truth)[1000:-1000] ** 2) / np.sum(truth[1000:-1000] ** 2)
        assert error < 1e-3


def test_copies_have_nothing_left_to_say(mended, tmp_path):
    _, _, fixed = mended
    done = nablafx("check-data", "--dry", fixed / "DRY", "--wet", fixed / "PEDAL", "--out", tmp_path)
    assert done.status == 0
    assert "look" not in done.out
    assert done.out.count("good") == 6
    assert not list(tmp_path.glob("*.png"))


def test_polarity_is_left_alone_unless_asked(faulty, tmp_path):
    fixed = tmp_path / "fixed"
    pair = ["--dry", faulty / "DRY/trainval/ebass-riffs.input.flac"]
    pair += ["--wet", faulty / f"PEDAL/trainval/{SETTING}/{SETTING}.ebass-riffs.target.wav"]
    assert nablafx("check-data", *pair, "--out", tmp_path / "a", "--fix", fixed).status == 0
    truth, _ = soundfile.read(ROOT / f"demo/ZAM-Comp/trainval/{SETTING}/{SETTING}.ebass-riffs.target.flac")
    (copy,) = fixed.rglob("*.target.wav")
    made, _ = soundfile.read(copy)
    assert np.dot(made, truth[: len(made)]) < -0.99 * np.dot(made, made)


def test_folders_are_named_from_where_one_stands(faulty, mended, tmp_path, monkeypatch):
    monkeypatch.chdir(faulty)
    words = ["--dry", "DRY", "--wet", "PEDAL", "--out", tmp_path / "figures", "--fix", tmp_path / "set"]
    assert nablafx("check-data", *words, "--fix-polarity").status == 1
    of_places, of_config = tmp_path / "set", mended[2]
    files = sorted(path.relative_to(of_config) for path in of_config.rglob("*") if path.is_file())
    assert len(files) == 6
    assert sorted(path.relative_to(of_places) for path in of_places.rglob("*") if path.is_file()) == files
    for file in files:
        np.testing.assert_array_equal(*(soundfile.read(place / file)[0] for place in (of_places, of_config)))


def test_originals_and_what_is_there_are_out_of_reach(faulty, tmp_path):
    words = ["check-data", "-c", faulty / "pedal.yaml", "--out", tmp_path / "out"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("")
    before = sorted(faulty.rglob("*"))
    for target, said in [
        (faulty / "PEDAL", "overlaps"),
        (faulty / "DRY/new", "overlaps"),
        (faulty, "overlaps"),
        (tmp_path / "full", "is there already"),
    ]:
        done = nablafx(*words, "--fix", target)
        assert done.status == 1
        assert said in done.err
    assert sorted(faulty.rglob("*")) == before
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_copies_that_are_stopped_leave_nothing(faulty, tmp_path, monkeypatch):
    def stop(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nablafx.recording.fixing.shifted", stop)
    words = ["check-data", "-c", faulty / "pedal.yaml", "--out", tmp_path / "out"]
    done = nablafx(*words, "--fix", tmp_path / "fixed")
    assert done.status == 1
    assert "No space left" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_files_without_partners(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "takes/one").mkdir(parents=True)
    soundfile.write(tmp_path / "takes/one/good.wav", 0.1 * rng.standard_normal(RATE), RATE)
    soundfile.write(tmp_path / "takes/clipped.flac", np.clip(rng.standard_normal(4 * RATE).repeat(8), -1, 1), RATE)
    done = nablafx("check-data", tmp_path / "takes", "--out", tmp_path / "out")
    assert done.status == 0
    assert "clips: " in done.out
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["clipped.flac.png"]
    (tmp_path / "takes/junk.wav").write_bytes(b"RIFF")
    done = nablafx("check-data", tmp_path / "takes", "--out", tmp_path / "out")
    assert done.status == 1
    assert "junk.wav\n  - cannot be read" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a config"),
        (["--dry", "a"], "give a config"),
        (["folder", "--dry", "a", "--wet", "b"], "give a config"),
        (["--dry", "nowhere", "--wet", "nowhere"], "there is no such file or folder"),
        (["-c", "nowhere.yaml"], "nowhere.yaml"),
        (["{tmp}"], "holds no .wav or .flac files"),
        (["{tmp}", "--fix", "x"], "--fix aligns wet files with dry ones"),
        (["-c", "{tmp}/bare.yaml"], "there is no section data"),
        (["-c", "{tmp}/wrong.yaml"], "segment_length"),
        (["-c", "{tmp}/binary.yaml"], "cannot be read"),
    ],
)
def test_mistakes_are_told_without_a_traceback(words, said, tmp_path):
    (tmp_path / "bare.yaml").write_text("model: {}\n")
    (tmp_path / "wrong.yaml").write_text("data: {dry: a, wet: b, segment_length: many}\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    done = nablafx("check-data", *(word.format(tmp=tmp_path) for word in words))
    assert done.status == 1
    assert said in done.err
