"""Every committed config of data is read, and its recordings checked."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from nablafx.data import PairedAudioDataModule

from ..cli import config, nablafx
from ..conftest import ROOT
from .listed import CFG, names

DEMOS = names("data", "demo-*.yaml")
DEVICES = [name for name in names("data") if name not in DEMOS]


def section(name: str) -> dict[str, Any]:
    return yaml.safe_load((CFG / f"{name}.yaml").read_text())["data"]


@pytest.mark.parametrize("data", DEMOS)
def test_demo_data(data, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = PairedAudioDataModule(**section(data), segment_length=24_000)
    with pytest.warns() if data in ("data/demo-fuzz", "data/demo-preamp") else nullcontext():
        module.setup("fit")
        module.setup("test")
    batch = next(iter(module.train_dataloader()))
    assert batch.x.shape == batch.y.shape
    assert (batch.controls is None) == (module.num_controls == 0)


@pytest.mark.parametrize("data", DEVICES)
def test_device(data, tmp_path, monkeypatch):
    """In a tree as ToneTwist has it, with little audio in it."""
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    given = section(data)
    knobs = "ABCD"[: len(given.get("controls", []))]
    settings = [given["setting"]] if "setting" in given else ["_".join(f"{k}{v:03d}" for k in knobs) for v in (0, 70)]
    x = 0.1 * np.random.default_rng(0).standard_normal(14_000).astype(np.float32)
    for part in ("trainval", "test"):
        for folder in (tmp_path / given["dry"] / part, *(tmp_path / given["wet"] / part / s for s in settings)):
            folder.mkdir(parents=True)
        soundfile.write(tmp_path / given["dry"] / part / "a.input.wav", x, 48_000, subtype="FLOAT")
        for setting in settings:
            wet = tmp_path / given["wet"] / part / setting / f"{setting}.a.target.wav"
            soundfile.write(wet, np.tanh(x), 48_000, subtype="FLOAT")
    module = PairedAudioDataModule(**given, segment_length=480, batch_size=100)
    module.setup("fit")
    module.setup("test")
    (batch,) = module.train_dataloader()
    torch.testing.assert_close(batch.y, torch.tanh(batch.x))
    assert len(list(module.test_dataloader())) == len(settings)
    assert module.num_controls == len(knobs)
    if knobs:
        assert {tuple(round(100 * value) for value in item) for item in batch.controls.tolist()} == {
            (0,) * len(knobs),
            (70,) * len(knobs),
        }


@pytest.mark.parametrize("data", DEVICES)
def test_the_command_line_reads_a_device(data, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as ending:
        nablafx("fit", *config(ROOT, data, "model/tcn/45-s"), "--print_config")
    assert ending.value.code == 0


def test_every_device_of_the_study_is_there():
    """18 with their knobs at rest, and two with knobs, by their names in the published configs."""
    assert len(DEVICES) == 20
    assert sorted(name for name in DEVICES if "controls" in section(name)) == [
        "data/marshall-jvm410h-od1",
        "data/multidrive-f-fuzz",
    ]
