"""Every committed config is run: models through fit, test and reload; data sets through their checks."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from nablafx.data import PairedAudioDataModule

from ..cli import config, data_words, nablafx
from ..conftest import ROOT

CFG = ROOT / "cfg"
MODELS = sorted(
    str(p.relative_to(CFG).with_suffix("")) for p in (CFG / "model").rglob("*.yaml") if "with" not in p.parts
)
OVERLAYS = sorted(str(p.relative_to(CFG).with_suffix("")) for p in (CFG / "model" / "with").glob("*.yaml"))
TRAINERS = sorted(str(p.relative_to(CFG).with_suffix("")) for p in (CFG / "trainer").glob("*.yaml"))
LOGGERS = sorted(str(p.relative_to(CFG).with_suffix("")) for p in (CFG / "trainer" / "logger").glob("*.yaml"))
DATA = sorted(str(p.relative_to(CFG).with_suffix("")) for p in (CFG / "data").glob("*.yaml"))
# the two conditionings that append to an LSTM's input; the others modulate layers
FOR_LSTM = {"model/with/fixed", "model/with/tvcond"}
ONE_STEP = ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1", "--trainer.max_epochs", "1"]


def run_through(demo, folder: Path, *names: str, controls: str | None = None) -> Path:
    """fit one step, then test what comes back from the checkpoint; the run's folder."""
    words = [*data_words(demo, controls=controls), *ONE_STEP, "--log_root", str(folder)]
    words = [*words, "--audio.log_audio_every_n_steps", "0"]
    fitted = nablafx("fit", *config(ROOT, *names), *words)
    assert fitted.status == 0, fitted.err
    (resolved,) = folder.rglob("config.yaml")
    tested = nablafx("test", "-c", resolved)
    assert tested.status == 0, tested.err
    last = (resolved.parent / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert last[0] == "all"
    assert all(math.isfinite(float(value)) for value in last[1:])
    return resolved.parent


@pytest.mark.parametrize("model", MODELS)
def test_model(model, knobless, tmp_path):
    run_through(knobless, tmp_path, model)


def pairs():
    for overlay in OVERLAYS:
        smallest = ["model/lstm/32"] if overlay in FOR_LSTM else ["model/tcn/45-s", "model/gcn/45-s", "model/s4/s"]
        yield from ((model, overlay) for model in smallest)


@pytest.mark.parametrize(("model", "overlay"), pairs())
def test_conditioned_model(model, overlay, knobbed, tmp_path):
    run_through(knobbed, tmp_path, model, overlay, controls="[D, T]")


@pytest.mark.parametrize("trainer", TRAINERS)
def test_trainer(trainer, knobless, tmp_path):
    run_through(knobless, tmp_path, "model/lstm/32", trainer)


@pytest.mark.parametrize("logger", LOGGERS)
def test_logger(logger, knobless, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = run_through(knobless, tmp_path, "model/tcn/45-s", "trainer/smoke", logger)
    sink = yaml.safe_load((CFG / f"{logger}.yaml").read_text())["trainer"]["logger"]
    written = {"TensorBoardSink": "tensorboard/events*", "WandbSink": "wandb/offline-run-*/*.wandb"}[sink]
    assert list(folder.glob(written))
    assert (folder / "history.csv").exists()


@pytest.mark.parametrize("data", DATA)
def test_data(data, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = PairedAudioDataModule(**yaml.safe_load((CFG / f"{data}.yaml").read_text())["data"], segment_length=24_000)
    with pytest.warns() if data in ("data/demo-fuzz", "data/demo-preamp") else nullcontext():
        module.setup("fit")
        module.setup("test")
    batch = next(iter(module.train_dataloader()))
    assert batch.x.shape == batch.y.shape
    assert (batch.controls is None) == (module.num_controls == 0)


@pytest.mark.parametrize("file", sorted(CFG.rglob("*.yaml")), ids=lambda p: str(p.relative_to(CFG)))
def test_configs_are_short(file):
    assert len(file.read_text().splitlines()) <= 20
