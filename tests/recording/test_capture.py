"""From the signal, through a device and an interface, to a data set that trains: nobody helps."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import yaml

from nablafx.recording.layout import read_layout
from nablafx.recording.signal import capture_signal

from ..cli import nablafx
from ..data.clocks import noisy, recorded
from ..data.layout import write

RATE, SECONDS = 48_000, 12


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    """A capture signal, as the command writes it."""
    path = tmp_path_factory.mktemp("capture") / "signal.wav"
    done = nablafx("capture-signal", path, "--seconds", SECONDS)
    assert done.status == 0, done.err
    return path


@pytest.fixture(scope="module")
def returned(signal):
    """What comes back: bent, inverted, late, on another clock, over noise."""
    dry, _ = soundfile.read(signal)
    path = signal.with_name("returned.wav")
    return write(path, noisy(recorded(device(dry), 1234.6, 30), -80), RATE, "PCM_24")


def device(x: np.ndarray) -> np.ndarray:
    return -np.tanh(3 * x) / 3


def import_capture(signal, *words):
    return nablafx("import-capture", signal, *words)


def test_the_signal_is_what_was_asked(signal):
    audio, rate = soundfile.read(signal)
    info = soundfile.info(signal)
    assert (info.subtype, info.channels, rate, len(audio)) == ("PCM_24", 1, RATE, SECONDS * RATE)
    assert np.abs(audio).max() == pytest.approx(10 ** (-3 / 20), abs=1e-6)
    assert abs(audio.mean()) < 1e-6
    np.testing.assert_array_equal(capture_signal(seconds=SECONDS), capture_signal(seconds=SECONDS))
    assert np.abs(capture_signal(seconds=SECONDS) - audio).max() <= 2**-23
    assert np.any(capture_signal(seconds=SECONDS, seed=1) != capture_signal(seconds=SECONDS))


@pytest.mark.parametrize(("rate", "seconds"), [(48_000, 12), (44_100, 31.7), (96_000, 13)])
def test_the_signal_tells_its_own_layout(rate, seconds):
    audio = capture_signal(rate, seconds)
    layout = read_layout(audio, rate)
    assert layout.name == "capture"
    assert [stretch.part for stretch in layout.stretches] == ["trainval", "trainval", "test"]
    pulses, marker = layout.pulses, 0.75 * rate
    assert len(pulses) == 16
    for stretch in layout.stretches:
        assert not np.any((pulses >= stretch.start) & (pulses < stretch.stop))
    kept = sum(stretch.stop - stretch.start for stretch in layout.stretches)
    assert kept == pytest.approx(len(audio) - 4 * marker - 0.5 * rate, abs=8)  # nothing but markers and tail is lost
    silence = audio[layout.stretches[0].start :][: rate // 8]
    assert not silence.any()  # for the noise floor


def test_a_programme_of_ones_own_is_divided(tmp_path):
    own = np.sin(np.arange(12 * RATE) * np.linspace(0.01, 0.2, 12 * RATE)).astype(np.float32)
    write(tmp_path / "songs" / "a.wav", np.stack([own[: 5 * RATE], own[: 5 * RATE]], axis=1), RATE)
    write(tmp_path / "songs" / "b.flac", own[5 * RATE :], RATE, "PCM_24")
    words = ["capture-signal", tmp_path / "s.wav", "--seconds", 16, "--programme", tmp_path / "songs", "--level_db", -9]
    done = nablafx(*words)
    assert done.status == 0, done.err
    audio, _ = soundfile.read(tmp_path / "s.wav")
    _, train, test = read_layout(audio, RATE).stretches
    inner = slice(RATE // 10, RATE)
    for stretch, start in ((train, 0), (test, train.stop - train.start)):
        heard, meant = audio[stretch.start : stretch.stop][inner], own[start:][inner]
        assert np.corrcoef(heard, meant)[0, 1] > 0.9999
    assert nablafx(*words).status == 1  # there already


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s.mp3"], "ends in .wav"),
        (["s.wav", "--seconds", 3], "12 or more"),
        (["s.wav", "--level_db", 3], "-0.1 dBFS"),
        (["s.wav", "--rate", 100], "8000 to 192000"),
        (["s.flac", "--bits", 32], "no 32-bit float"),
        (["s.wav", "--programme", "."], "holds no .wav"),
    ],
)
def test_a_signal_that_cannot_be_made(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = nablafx("capture-signal", *words)
    assert done.status == 1
    assert said in done.err
    assert not list(tmp_path.iterdir())


def test_from_a_recording_to_a_trained_model(signal, returned, tmp_path):
    before = returned.read_bytes()
    done = import_capture(signal, returned, "--out", tmp_path / "set", "--device", "PEDAL")
    assert done.status == 0, done.err
    for told in ("1234.6", "+30.0", "inverted", "none"):
        assert told in done.out
    errors = {}
    for path in sorted((tmp_path / "set/DRY").rglob("*.wav")):
        name = str(path.relative_to(tmp_path / "set/DRY"))
        wet = tmp_path / "set/PEDAL" / name.replace(".input", ".target")
        ideal, heard = device(soundfile.read(path)[0]), soundfile.read(wet)[0]
        assert len(ideal) == len(heard)
        errors[name] = np.sum((heard - ideal) ** 2) / np.sum(ideal**2)
        # the delay that is left, by least squares against the slope of the ideal
        slope = np.gradient(ideal)
        assert abs(np.dot(ideal - heard, slope) / np.dot(slope, slope)) < 0.05
    assert list(errors) == [
        f"{part}/signal-{i}.input.wav" for part, i in (("test", 3), ("trainval", 1), ("trainval", 2))
    ]
    assert max(errors.values()) < 2e-4
    dry, _ = soundfile.read(signal, dtype="int32")
    part, _ = soundfile.read(tmp_path / "set/DRY/test/signal-3.input.wav", dtype="int32")
    stretch = read_layout(dry / 2**31, RATE).stretches[-1]
    np.testing.assert_array_equal(part, dry[stretch.start : stretch.stop])
    assert returned.read_bytes() == before
    assert not [path for path in (tmp_path / "set").iterdir() if path.name[0] == "."]
    words = ["-c", tmp_path / "set/data.yaml", "-c", "model/lstm/32.yaml", "-c", "trainer/smoke.yaml"]
    fitted = nablafx("fit", *words, "--log_root", tmp_path / "logs", "--trainer.limit_train_batches", 1)
    assert fitted.status == 0, fitted.err
    assert list((tmp_path / "logs").rglob("best.ckpt"))


def test_settings_come_one_after_another(signal, returned, tmp_path):
    out = ["--out", tmp_path, "--device", "PEDAL"]
    assert import_capture(signal, returned, *out, "--setting", "D020_T050").status == 0
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["data"]["setting"] == "D020_T050"
    again = import_capture(signal, returned, *out, "--setting", "D020_T050")
    assert again.status == 0
    assert "Written 0 files" in again.out
    assert import_capture(signal, returned, *out, "--setting", "D080_T050").status == 0
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())["data"]
    assert data["controls"] == ["D", "T"]
    assert "setting" not in data
    assert len(list(tmp_path.rglob("*.target.wav"))) == 6
    config = tmp_path / "data.yaml"
    config.write_text(config.read_text() + "trainer: {max_epochs: 3}\n")
    assert import_capture(signal, returned, *out, "--setting", "D090_T050").status == 0
    told = yaml.safe_load(config.read_text())
    assert (told["trainer"], told["data"]) == ({"max_epochs": 3}, data)  # what a user adds stays
    other = import_capture(signal, returned, "--out", tmp_path, "--device", "OTHER")
    assert "is not of" in other.err
    assert not (tmp_path / "OTHER").exists()
    louder = write(tmp_path / "louder.wav", 1.1 * soundfile.read(returned)[0], RATE, "FLOAT")
    refused = import_capture(signal, louder, *out, "--setting", "D080_T050")
    assert refused.status == 1
    assert "--overwrite" in refused.err
    assert import_capture(signal, louder, *out, "--setting", "D080_T050", "--overwrite").status == 0


def test_another_rate_another_channel_an_early_start(signal, tmp_path):
    dry, _ = soundfile.read(signal)
    import soxr

    wet = soxr.resample(np.concatenate([np.zeros(3 * RATE), device(dry)]), RATE, 44_100, quality="VHQ")
    stereo = np.stack([noisy(0 * wet, -70), noisy(wet, -90)], axis=1)
    path = write(tmp_path / "stereo.flac", stereo, 44_100, "PCM_24")
    assert "name it (--channel left" in import_capture(signal, path, "--out", tmp_path / "set").err
    with pytest.warns(UserWarning, match="it is resampled"):
        done = import_capture(signal, path, "--out", tmp_path / "set", "--channel", "right")
    assert done.status == 0, done.err
    assert "144000.0" in done.out.replace(",", "")
    ideal = device(soundfile.read(tmp_path / "set/DRY/test/signal-3.input.wav")[0])
    heard = soundfile.read(tmp_path / "set/DEVICE/test/signal-3.target.wav")[0]
    assert np.sum((heard - ideal) ** 2) < 1e-3 * np.sum(ideal**2)


def refusals(dry: np.ndarray, wet: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    other = capture_signal(seconds=SECONDS, seed=5)
    # the same markers, probes shuffled and other notes
    cut = read_layout(dry, RATE).stretches
    swapped = dry.copy()
    for stretch in cut:
        swapped[stretch.start : stretch.stop] = 0.1 * np.random.default_rng(9).standard_normal(
            stretch.stop - stretch.start
        )
    return {
        "short": (wet[: 9 * RATE], "record on until the last marker"),
        "late": (wet[2 * RATE :], "start recording before you play"),
        "silent": (1e-6 * wet, "is silent"),
        "unrelated": (0.1 * np.random.default_rng(2).standard_normal(len(wet)), "cannot be laid over the dry signal"),
        "another programme": (swapped, "answers another signal"),
        "another seed": (other, "answers another signal"),
    }


@pytest.mark.parametrize("kind", ["short", "late", "silent", "unrelated", "another programme", "another seed"])
def test_what_is_no_recording_of_the_signal_is_refused(kind, signal, returned, tmp_path):
    audio, said = refusals(soundfile.read(signal)[0], soundfile.read(returned)[0])[kind]
    path = write(tmp_path / "wet.wav", audio, RATE, "FLOAT")
    done = import_capture(signal, path, "--out", tmp_path / "set")
    assert done.status == 1
    assert said in done.err
    assert not (tmp_path / "set").exists()


def test_clipping_is_said(signal, returned, tmp_path):
    clipped = np.clip(4 * soundfile.read(returned)[0], -1, 1)
    path = write(tmp_path / "wet.wav", clipped, RATE, "PCM_24")
    with pytest.warns(UserWarning, match="runs at full scale"):
        done = import_capture(signal, path, "--out", tmp_path / "set")
    assert done.status == 0, done.err


@pytest.mark.parametrize("words", [["--setting", "D120"], ["--setting", "A", "B"], ["--device", "a/b"]])
def test_names_that_cannot_be_folders(words, signal, returned, tmp_path):
    done = import_capture(signal, returned, "--out", tmp_path / "set", *words)
    assert done.status == 1
    assert words[0].lstrip("-") in done.err
    assert not (tmp_path / "set").exists()
