"""Every committed config is run: models through fit, test and reload; data sets through their checks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from matplotlib.figure import Figure

from nablafx import conditioning, controllers, effects, processors
from nablafx.data import PairedAudioDataModule
from nablafx.training import callbacks, losses, sinks
from nablafx.training.system import System

from ..cli import config, data_words, nablafx
from ..conftest import ROOT

CFG = ROOT / "cfg"


def names(folder: str, pattern: str = "*.yaml") -> list[str]:
    return sorted(str(path.relative_to(CFG).with_suffix("")) for path in (CFG / folder).glob(pattern))


NETS = [name for kind in ("tcn", "gcn", "s4", "lstm") for name in names(f"model/{kind}")]
CHAINS = names("model/graybox")
STEERED = [name for name in CHAINS if name.endswith("-cond")]
UNSTEERED = [name for name in CHAINS if name not in STEERED]
TRAINERS, LOGGERS, LOSSES = names("trainer"), names("trainer/logger"), names("loss")
DEMOS = names("data", "demo-*.yaml")
DEVICES = [name for name in names("data") if name not in DEMOS]
# the conditionings that append to an LSTM's input, and those that modulate layers
FOR_LSTM, FOR_LAYERS = ("fixed", "tvcond"), ("film", "tfilm", "ttfilm", "tvfilm")
ONE_STEP = ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1", "--trainer.max_epochs", "1"]
QUICK = ["--trainer.num_sanity_val_steps", "0", "--trainer.enable_progress_bar", "false"]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They take longer than the models, and have tests of their own."""
    monkeypatch.setattr(callbacks, "plot_comparison", lambda *args, **kwargs: Figure(figsize=(0.1, 0.1)))


def run_through(demo, folder: Path, *files: str, controls: str | None = None, setting: str | None = None) -> Path:
    """fit one step, then test what comes back from the checkpoint; the run's folder."""
    words = [*data_words(demo, controls=controls), *(["--data.setting", setting] if setting else [])]
    words = [*words, *ONE_STEP, *QUICK, "--log_root", str(folder), "--audio.log_audio_every_n_steps", "0"]
    fitted = nablafx("fit", *config(ROOT, *files), *words)
    assert fitted.status == 0, fitted.err
    (resolved,) = folder.rglob("config.yaml")
    tested = nablafx("test", "-c", resolved)
    assert tested.status == 0, tested.err
    last = (resolved.parent / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert last[0] == "all"
    assert all(math.isfinite(float(value)) for value in last[1:])
    return resolved.parent


@pytest.mark.parametrize("model", [*NETS, *UNSTEERED])
def test_without_knobs(model, knobless, tmp_path):
    run_through(knobless, tmp_path, model)


def conditioned() -> list[tuple[str, str]]:
    """Every net with a conditioning, and every conditioning with every kind of net."""
    pairs = []
    for kind in ("tcn", "gcn", "s4", "lstm"):
        sizes, overlays = names(f"model/{kind}"), FOR_LSTM if kind == "lstm" else FOR_LAYERS
        count = max(len(sizes), len(overlays))
        pairs += [(sizes[n % len(sizes)], f"model/with/{overlays[n % len(overlays)]}") for n in range(count)]
    return pairs


@pytest.mark.parametrize(("model", "overlay"), conditioned())
def test_a_net_with_knobs(model, overlay, knobbed, tmp_path):
    run_through(knobbed, tmp_path, model, overlay, controls="[D, T]")


def test_every_overlay_is_run():
    assert {overlay for _, overlay in conditioned()} == set(names("model/with"))


@pytest.mark.parametrize("model", STEERED)
def test_a_chain_with_knobs(model, knobbed, tmp_path):
    run_through(knobbed, tmp_path, model, controls="[D, T]")


@pytest.mark.parametrize("model", ["model/graybox/comp-cond", "model/graybox/fuzz-mlp-fir-inv-cond"])
def test_a_chain_that_misses_its_knobs_says_so(model, knobless):
    refused = nablafx("fit", *config(ROOT, model), *data_words(knobless))
    assert refused.status == 1
    assert "is steered by the device's controls, and this data set has none" in refused.err


@pytest.mark.parametrize("model", ["model/tcn/45-s", "model/graybox/dist-rnl"])
def test_a_model_at_one_setting_of_the_knobs(model, knobbed, tmp_path):
    run_through(knobbed, tmp_path, model, setting="D080_T050")


@pytest.mark.slow  # as the one above, which tells the same of the command line
@pytest.mark.parametrize("model", [*NETS, *UNSTEERED])
def test_every_model_at_one_setting_of_the_knobs(model, knobbed, tmp_path):
    run_through(knobbed, tmp_path, model, setting="D080_T050")


@pytest.mark.parametrize("file", [*TRAINERS, *LOSSES])
def test_trainer_and_loss(file, knobless, tmp_path):
    run_through(knobless, tmp_path, "model/lstm/32", file)


def written_by(logger: str) -> str:
    sink = yaml.safe_load((CFG / f"{logger}.yaml").read_text())["trainer"]["logger"]
    return {"TensorBoardSink": "tensorboard/events*", "WandbSink": "wandb/offline-run-*/*.wandb"}.get(
        sink, "history.csv"
    )


@pytest.mark.parametrize("logger", LOGGERS)
def test_logger(logger, knobless, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = run_through(knobless, tmp_path, "model/tcn/45-s", "trainer/smoke", logger)
    assert list(folder.glob(written_by(logger)))
    assert (folder / "history.csv").exists()


@pytest.mark.slow  # W&B takes some seconds a run
@pytest.mark.parametrize("file", [*NETS, *UNSTEERED, *TRAINERS, *LOSSES])
def test_wandb_offline_with_every_config(file, knobless, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    files = (file,) if file.startswith("model") else ("model/lstm/32", file)
    folder = run_through(knobless, tmp_path, *files, "trainer/logger/wandb")
    assert list(folder.glob(written_by("trainer/logger/wandb")))


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


ALL = sorted(CFG.rglob("*.yaml"))


@pytest.mark.parametrize("file", ALL, ids=lambda p: str(p.relative_to(CFG)))
def test_configs_are_short_and_say_what_they_are(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith("# ")
    assert not any("#" in line for line in lines[1:])


PACKAGES = (effects, conditioning, processors, controllers, losses, sinks)
SECTIONS = {
    "model": System,
    "data": PairedAudioDataModule,
    "trainer": Trainer,
    "audio": callbacks.AudioCallback,
    "early_stopping": EarlyStopping,
}


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def repeated(value: Any, cls: type | None = None, where: str = "") -> Iterator[str]:
    """Keys of a config whose values are the defaults of the class that takes them."""
    defaults = {n: p.default for n, p in inspect.signature(cls).parameters.items()} if cls else {}
    for key, given in value.items() if isinstance(value, dict) else ():
        if key in defaults and plain(defaults[key]) == plain(given) and given is not None:
            yield f"{where}.{key}"
        if isinstance(given, dict) and "class_path" in given:
            found = [
                getattr(package, given["class_path"]) for package in PACKAGES if hasattr(package, given["class_path"])
            ]
            yield from repeated(given.get("init_args", {}), *found, where=f"{where}.{key}")
        else:
            yield from repeated(given, SECTIONS.get(key) if not where else None, f"{where}.{key}")


@pytest.mark.parametrize("file", ALL, ids=lambda p: str(p.relative_to(CFG)))
def test_no_config_repeats_a_default(file):
    assert list(repeated(yaml.safe_load(file.read_text()))) == []


def test_a_repeated_default_is_seen():
    effect = {"class_path": "TCN", "init_args": {"num_blocks": 5, "conditioning": {"class_path": "TVFiLM"}}}
    gain = {"class_path": "Gain", "init_args": {"gain_db": [-32, 32]}}
    told = [
        *repeated({"model": {"lr": 0.005, "effect": effect}, "data": {"dry": "x", "batch_size": 16}}),
        *repeated(
            {"model": {"effect": {"class_path": "GrayBox", "init_args": {"stages": {"a": {"processor": gain}}}}}}
        ),
    ]
    assert told == [
        ".model.lr",
        ".model.effect.num_blocks",
        ".data.batch_size",
        ".model.effect.stages.a.processor.gain_db",
    ]
