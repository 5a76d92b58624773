"""Every committed config of models, trainers, losses, loggers and sweeps is run: fit, test and reload."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from matplotlib.figure import Figure

from nablafx.analysis import measure_distortion
from nablafx.data import PairedAudioDataModule
from nablafx.data.demo import write_demo
from nablafx.sweep.spec import read_spec
from nablafx.sweep.trials import table_of
from nablafx.training import callbacks, perceptual
from nablafx.training.handshake import check_data
from nablafx.training.system import System

from ..cli import config, data_words, nablafx
from ..conftest import ROOT
from ..effects.committed import build, build_chain
from .listed import CFG, names

KINDS = ("tcn", "gcn", "s4", "lstm", "envelope-lstm")
NETS = [name for kind in KINDS for name in names(f"model/{kind}")]
CHAINS = names("model/graybox")
STEERED = [name for name in CHAINS if name.endswith("-cond")]
UNSTEERED = [name for name in CHAINS if name not in STEERED]
SWEEPS = names("sweep")
TRAINERS, LOGGERS, LOSSES = names("trainer"), names("trainer/logger"), names("loss")
# the conditionings that append to an LSTM's input, and those that modulate layers
FOR_LSTM, FOR_LAYERS = ("fixed", "tvcond"), ("film", "tfilm", "ttfilm", "tvfilm")
ONE_STEP = ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1", "--trainer.max_epochs", "1"]
QUICK = ["--trainer.num_sanity_val_steps", "0", "--trainer.enable_progress_bar", "false"]
SEGMENT = 1152  # samples: nine blocks, and enough for the longest FFT


@pytest.fixture(autouse=True)
def short_work(monkeypatch):
    """No pictures, and two sines in place of 24: they take longer than the models, and have tests of their own."""
    monkeypatch.setattr(callbacks, "plot_comparison", lambda *args, **kwargs: Figure(figsize=(0.1, 0.1)))
    monkeypatch.setattr(perceptual, "measure_distortion", partial(measure_distortion, count=2))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A device at one setting, in files as short as can be split."""
    return write_demo(tmp_path_factory.mktemp("plain"), settings=(), seconds=0.3)


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """The same with the knobs D and T."""
    return write_demo(tmp_path_factory.mktemp("turned"), settings=("D020_T050", "D080_T050"), seconds=0.3)


def fit(
    demo, folder: Path, *files: str, controls: str | None = None, setting: str | None = None, segment: int = SEGMENT
) -> Path:
    """Fit one step; the run's folder."""
    words = [*data_words(demo, controls=controls), *(["--data.setting", setting] if setting else [])]
    words += ["--data.segment_length", str(segment), *ONE_STEP, *QUICK]
    words += ["--log_root", str(folder), "--media.log_media_every_n_steps", "0"]
    fitted = nablafx("fit", *config(ROOT, *files), *words)
    assert fitted.status == 0, fitted.err
    (resolved,) = folder.rglob("config.yaml")
    return resolved.parent


def unknown(metrics: Mapping[str, float | str]) -> set[str]:
    """Metrics without a figure; after one step an output may be too quiet for a crest factor."""
    return {name for name, value in metrics.items() if not math.isfinite(float(value))}


def command_tests(run: Path) -> None:
    """The run's own config and checkpoint are all that `nablafx test` needs."""
    tested = nablafx("test", "-c", run / "config.yaml")
    assert tested.status == 0, tested.err
    with (run / "metrics.csv").open(newline="") as file:
        *files, last = csv.DictReader(file)
    assert last.pop("file") == "all"
    # a single file of less than a second is no set that could be far from another
    assert math.isfinite(float(last.pop("fad_mel"))) == (len(files) > 1)
    assert unknown(last) <= {"crest"}


def logged(run: Path) -> float:
    """The run's last validation loss."""
    return float(list(csv.DictReader((run / "history.csv").open()))[-1]["loss/val/total"])


def made(demo, model: str, overlay: str | None = None, **of_data: Any) -> tuple[System, PairedAudioDataModule, Trainer]:
    """What the command line would make of the files, by other means."""
    kind, _, name = model.removeprefix("model/").partition("/")
    data = PairedAudioDataModule(str(demo.dry), str(demo.wet), segment_length=SEGMENT, batch_size=4, **of_data)
    knobs = data.num_controls
    effect = build_chain(name, knobs) if kind == "graybox" else build(f"{kind}/{name}", overlay, knobs)
    trainer = Trainer(
        logger=False,
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    return System(effect), data, trainer


def reloads(checkpoint: Path, loss: float, *of_model: Any, **of_data: Any) -> None:
    """In a fresh model the checkpoint gives the validation loss that it was saved at, and goes through a test."""
    system, data, trainer = made(*of_model, **of_data)
    system.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    (validated,) = trainer.validate(system, data, verbose=False)
    assert validated["loss/val/total"] == pytest.approx(loss, rel=1e-4)
    trainer.test(system, data, verbose=False)
    assert unknown(system.test_totals) <= {"crest"}


def runs(demo, folder: Path, model: str, overlay: str | None = None, **of_data: Any) -> None:
    """fit by the command line, then reload without it: it would parse a chain for a third of a second again."""
    files = [model, *([f"model/with/{overlay}"] if overlay else [])]
    knobs = of_data.get("controls")
    run = fit(demo, folder, *files, controls=knobs and f"[{', '.join(knobs)}]", setting=of_data.get("setting"))
    reloads(run / "checkpoints/best.ckpt", logged(run), demo, model, overlay, **of_data)


# of a model's name, where its kernels take ten seconds and more to compile
DEAR = ("/s4/", "/tcn/", "/gcn/", "/lstm/", "-mlp")
# the inverted ones in the command line are slow: one line apart from their twins
IN_DEFAULT = [m for m in (*NETS, *CHAINS) if "-inv" not in m]


def each(models: list[str], chosen: list[str]) -> list[Any]:
    """The models as parameters of a test, those that are not chosen as slow ones.

    What runs in the same kernels is of one group: two workers would compile them at the same time.
    """
    marks = {model: [pytest.mark.xdist_group(group)] for model in models for group in DEAR if group in model}
    return [pytest.param(m, marks=marks.get(m, []) + ([] if m in chosen else [pytest.mark.slow])) for m in models]


@pytest.mark.parametrize("model", each([*NETS, *UNSTEERED], IN_DEFAULT))
def test_without_knobs(model, plain, tmp_path):
    runs(plain, tmp_path, model)


@pytest.mark.parametrize("model", [model for model in CHAINS if "-inv" in model])
def test_an_inverted_chain(model, plain, turned, tmp_path):
    demo, of_data = (turned, {"controls": ["D", "T"]}) if model in STEERED else (plain, {})
    system, data, trainer = made(demo, model, **of_data)
    trainer.fit(system, data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    reloads(tmp_path / "model.ckpt", float(trainer.callback_metrics["loss/val/total"]), demo, model, **of_data)


def conditioned() -> list[tuple[str, str]]:
    """Every net with a conditioning, and every conditioning with every kind of net."""
    pairs = []
    for kind in KINDS:
        sizes, overlays = names(f"model/{kind}"), FOR_LSTM if "lstm" in kind else FOR_LAYERS
        count = max(len(sizes), len(overlays))
        pairs += [(sizes[n % len(sizes)], overlays[n % len(overlays)]) for n in range(count)]
    return pairs


@pytest.mark.parametrize(("model", "overlay"), conditioned())
def test_a_net_with_knobs(model, overlay, turned, tmp_path):
    runs(turned, tmp_path, model, overlay, controls=["D", "T"])


def test_every_overlay_is_run():
    assert {f"model/with/{overlay}" for _, overlay in conditioned()} == set(names("model/with"))


@pytest.mark.parametrize("model", each(STEERED, IN_DEFAULT))
def test_a_chain_with_knobs(model, turned, tmp_path):
    runs(turned, tmp_path, model, controls=["D", "T"])


def test_a_chain_that_misses_its_knobs_says_so(plain):
    refused = nablafx("fit", *config(ROOT, "model/graybox/comp-cond"), *data_words(plain))
    assert refused.status == 1
    assert "is steered by the device's controls, and this data set has none" in refused.err


# the others are slow: to the command line a setting is a setting
@pytest.mark.parametrize("model", each([*NETS, *UNSTEERED], ["model/tcn/45-s", "model/graybox/dist-rnl"]))
def test_at_one_setting_of_the_knobs(model, turned, tmp_path):
    runs(turned, tmp_path, model, setting="D080_T050")


COMMANDED = [
    ("model/gcn/45-s", "tfilm"),
    ("model/s4/s", "tvfilm"),
    ("model/graybox/fuzz-mlp-fir-inv-cond", None),
]
OTHERS = [pair for pair in (*((m, None) for m in (*NETS, *CHAINS)), *conditioned()) if pair not in COMMANDED]


# the others are slow: they end in the same command, by words of the same kind
@pytest.mark.parametrize(
    ("model", "overlay"), [*COMMANDED, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS)]
)
def test_the_command_tests_a_run(model, overlay, plain, turned, tmp_path):
    if overlay or model in STEERED:
        overlays = [f"model/with/{overlay}"] if overlay else []
        command_tests(fit(turned, tmp_path, model, *overlays, controls="[D, T]"))
    else:
        command_tests(fit(plain, tmp_path, model))


@pytest.mark.parametrize("file", [*TRAINERS, *LOSSES])
def test_trainer_and_loss(file, knobless, tmp_path):
    command_tests(fit(knobless, tmp_path, "model/lstm/32", file, segment=4800))


def written_by(logger: str) -> str:
    sink = yaml.safe_load((CFG / f"{logger}.yaml").read_text())["trainer"]["logger"]
    return {"TensorBoardSink": "tensorboard/events*", "WandbSink": "wandb/offline-run-*/*.wandb"}.get(
        sink, "history.csv"
    )


@pytest.mark.parametrize("logger", LOGGERS)
def test_logger(logger, plain, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = fit(plain, tmp_path, "model/tcn/45-s", "trainer/smoke", logger)
    command_tests(folder)
    assert list(folder.glob(written_by(logger)))
    assert (folder / "history.csv").exists()


@pytest.mark.parametrize("trainer", ["tbptt", "published-tbptt-tvcond"])
def test_truncated_training_cuts_between_the_blocks_of_tvcond(trainer):
    described = yaml.safe_load((CFG / "trainer" / f"{trainer}.yaml").read_text())
    check_data(build("lstm/96", "tvcond", 2), None, described["model"]["tbptt_samples"])


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_trial_of_a_sweep(sweep, plain, tmp_path):
    """The first one, on audio of a moment in the place of the device's."""
    trial = table_of(read_spec(str(CFG / f"{sweep}.yaml"))).trials[0]
    audio = [*data_words(plain), "--data.setting", "null", "--data.segment_length", str(SEGMENT)]
    words = [*trial.words, *audio, *ONE_STEP, *QUICK, "--media.log_media_every_n_steps", "0", "--log_root", tmp_path]
    fitted = nablafx("fit", *words)
    assert fitted.status == 0, fitted.err
    command_tests(tmp_path / trial.name / "version_0")


@pytest.mark.slow  # W&B takes some seconds a run
@pytest.mark.parametrize("file", [*NETS, *UNSTEERED, *TRAINERS, *LOSSES])
def test_wandb_offline_with_every_config(file, plain, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    files = (file,) if file.startswith("model") else ("model/lstm/32", file)
    folder = fit(plain, tmp_path, *files, "trainer/logger/wandb")
    command_tests(folder)
    assert list(folder.glob(written_by("trainer/logger/wandb")))
