"""Public layouts, made up small: knobs and splits are what their names say, and they train."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import soundfile
import yaml

from nablafx.data import DataWarning, PairedAudioDataModule
from nablafx.recording.layout import read_layout

from ..cli import nablafx
from ..data.clocks import noisy, recorded
from ..data.layout import noise, write

LA2A = {
    "Train": {138: (0, 0), 139: (0, 5), 160: (1, 100)},
    "Val": {223: (0, 5)},
    "Test": {200: (1, 65), 201: (0, 40)},
}


def trains(config, tmp_path, *words) -> None:
    """One step of a small net on a config."""
    given = ["-c", config, "-c", "model/lstm/32.yaml", "-c", "trainer/smoke.yaml", *words]
    fitted = nablafx("fit", *given, "--trainer.limit_train_batches", 1, "--log_root", tmp_path / "logs")
    assert fitted.status == 0, fitted.err
    assert list((tmp_path / "logs").rglob("best.ckpt"))


@pytest.fixture
def la2a(tmp_path):
    root = tmp_path / "SignalTrain_LA2A_Dataset_1.1"
    for part, files in LA2A.items():
        for number, (switch, reduction) in files.items():
            x = noise(44_100, number)
            write(root / part / f"input_{number}_.wav", x, 44_100, "PCM_16")
            write(root / part / f"target_{number}_LA2A_3c__{switch}__{reduction}.wav", x / 2, 44_100, "PCM_16")
    return root


def test_signaltrain(la2a, tmp_path):
    done = nablafx("import-dataset", "signaltrain", tmp_path, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    data = yaml.safe_load((tmp_path / "out/data.yaml").read_text())["data"]
    assert data["sample_rate"] == 44_100
    module = PairedAudioDataModule(**data, segment_length=9600)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)  # that each setting has a dry file of its own is no finding
        module.setup("fit")
        module.setup("test")
    for part, folders in (("trainval", ("Train", "Val")), ("test", ("Test",))):
        expected = {number: knobs for folder in folders for number, knobs in LA2A[folder].items()}
        heard = {int(file["name"].split(".")[1]): file["controls"] for file in module.audio(part)}
        assert heard == {number: (switch, reduction / 100) for number, (switch, reduction) in expected.items()}
    original = la2a / "Test/target_200_LA2A_3c__1__65.wav"
    linked = tmp_path / "out/LA2A/test/L100_P065/L100_P065.200.target.wav"
    assert os.path.samefile(original, linked)  # no second copy of 19 GB
    trains(tmp_path / "out/data.yaml", tmp_path, "-c", "model/with/fixed.yaml")


def test_signaltrain_with_names_that_cannot_be_read(la2a, tmp_path):
    (la2a / "Train/input_139_.wav").unlink()
    (la2a / "Test/target_200_LA2A_3c__1__65.wav").rename(la2a / "Test/target_200.wav")
    done = nablafx("import-dataset", "signaltrain", la2a, "--out", tmp_path / "out")
    assert done.status == 1
    assert "has no input_139_.wav" in done.err
    assert "tells no switch" in done.err
    assert not (tmp_path / "out").exists()


def nam_input(version: int) -> np.ndarray:
    """A signal with the pulses of neural-amp-modeler, only as long as its places allow."""
    length = {1: 1_000_000, 2: 1_400_000, 3: 1_300_000}[version]
    audio = 0.1 * np.random.default_rng(version).standard_normal(length)
    quiet = {1: [(0, 48_000)], 2: [(0, 96_000), (length - 96_000, length)], 3: [(432_000, 576_000)]}[version]
    for start, stop in quiet:
        audio[start:stop] = 0
    pulses = {1: [12_000, 36_000], 2: [24_000, 72_000, length - 72_000, length - 24_000], 3: [504_000, 552_000]}
    audio[pulses[version]] = 0.9
    if version == 3:
        audio[:432_000] = audio[-432_000:]
    return audio


@pytest.mark.parametrize(
    ("version", "first", "test"), [(1, 36_000, 432_000), (2, 72_000, 864_000), (3, 552_000, 432_000)]
)
def test_signals_of_neural_amp_modeler_are_known(version, first, test):
    audio = nam_input(version)
    layout = read_layout(audio, 48_000)
    assert layout.name == f"NAM {version}"
    (last,) = [stretch for stretch in layout.stretches if stretch.part == "test"]
    cut = len(audio) - (960_000 if version == 2 else 432_000)
    assert last.start == cut
    assert last.stop - last.start == pytest.approx(test, abs=20_000)
    train = [stretch for stretch in layout.stretches if stretch.part == "trainval"]
    assert train[0].start > first  # version 3 begins with what it tests on
    assert train[-1].stop == cut


def test_nam_pair(tmp_path):
    dry = nam_input(3)
    write(tmp_path / "pair/input.wav", dry, 48_000, "PCM_24")
    write(tmp_path / "pair/my-amp.wav", noisy(recorded(np.tanh(4 * dry), 87.4), -70), 48_000, "PCM_24")
    done = nablafx("import-dataset", "nam", tmp_path / "pair", "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert "87.40 samples" in done.out
    x, _ = soundfile.read(tmp_path / "out/DRY/test/input-2.input.wav")
    y, _ = soundfile.read(tmp_path / "out/NAM/test/input-2.target.wav")
    assert len(x) == 432_000
    inner = slice(100, -100)
    assert np.corrcoef(y[inner], np.tanh(4 * x)[inner])[0, 1] > 0.99  # all but what lies beyond the interpolator
    write(tmp_path / "pair/another.wav", dry, 48_000)
    assert "needs one of each" in nablafx("import-dataset", "nam", tmp_path / "pair", "--out", tmp_path / "out").err


def tonetwist(root) -> None:
    for part in ("trainval", "test"):
        x = noise(96_000, len(part))
        for dry, rate in (("ANALOG/DRY-with-markers", 48_000), ("EXTERNAL/someone/DRY", 44_100)):
            write(root / dry / part / f"{part}-a.input.wav", x, rate)
        places = {
            "ANALOG/Maker-Drive": ["V100_T050"],
            "ANALOG/Maker-Knobs": ["D000_T050", "D100_T050"],
            "ANALOG/Maker-Words": ["D050_MLow", "D050_RHigh"],
            "EXTERNAL/someone/Amp-Clean": ["G050"],
            "DIGITAL/Orphan": ["G050"],
        }
        for device, settings in places.items():
            for setting in settings:
                wet = root / device / part / setting / f"{setting}.{part}-a.target.wav"
                write(wet, x / 2, 44_100 if "EXTERNAL" in device else 48_000)


def test_tonetwist_is_used_where_it_lies(tmp_path):
    root = tmp_path / "tonetwist"
    tonetwist(root)
    (root / "ANALOG/Ibanez-TS9.zip").write_bytes(b"PK")
    before = sorted(root.rglob("*"))
    done = nablafx("import-dataset", "tonetwist", root, "--out", tmp_path / "configs")
    assert done.status == 0, done.err
    assert "left out: Orphan" in done.out
    assert "Still packed: Ibanez-TS9.zip" in done.out
    assert sorted(root.rglob("*")) == before
    found = {p.stem: yaml.safe_load(p.read_text())["data"] for p in (tmp_path / "configs").iterdir()}
    assert {name: data.get("controls", data.get("setting")) for name, data in found.items()} == {
        "maker-drive": "V100_T050",
        "maker-knobs": ["D", "T"],
        "maker-words-d050_mlow": "D050_MLow",
        "maker-words-d050_rhigh": "D050_RHigh",
        "someone-amp-clean": "G050",
    }
    assert found["someone-amp-clean"]["sample_rate"] == 44_100
    assert "sample_rate" not in found["maker-drive"]
    for data in found.values():
        module = PairedAudioDataModule(**data, segment_length=9600)
        module.setup("fit")
        module.setup("test")
    trains(tmp_path / "configs/someone-amp-clean.yaml", tmp_path)


def test_folders_that_hold_nothing_of_the_kind(tmp_path):
    for layout, said in (("signaltrain", "no folder Train"), ("nam", "0 dry files"), ("tonetwist", "holds no device")):
        done = nablafx("import-dataset", layout, tmp_path, "--out", tmp_path / "out")
        assert done.status == 1
        assert said in done.err
    assert "no such folder" in nablafx("import-dataset", "nam", tmp_path / "x", "--out", tmp_path / "out").err
