"""The command line from data to rendered audio, and its answers to mistakes."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from .cli import config, data_words, nablafx
from .readback import read_history, read_tensorboard, read_wandb

METRICS = {"cosine", "dc", "esr", "logcosh", "mae", "mape", "mrstft", "mse"}
OF_WHOLE_FILES = {"asr", "crest", "gain", "lufs"}
OF_SETS = {"fad_mel"}


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """A place of its own for runs, and a working directory without .env."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "logs"


SMALL = [
    "--model.effect",
    "TCN",
    "--model.effect.init_args.num_blocks",
    "2",
    "--model.effect.init_args.channel_width",
    "4",
]


def weights(path):
    content = torch.load(path, weights_only=True)["state_dict"]
    return {name: value for name, value in content.items() if name.startswith("effect.")}


def assert_same_weights(a, b):
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def fit(root, logs, demo, *words, controls=None, files=("trainer/smoke",)):
    result = nablafx(
        "fit", *config(root, *files), *SMALL, *data_words(demo, controls=controls), "--log_root", logs, *words
    )
    assert result.status == 0, result.err
    return result


def test_from_recordings_to_rendered_audio(root, logs, knobbed):
    words = ["--model.effect.init_args.conditioning", "FiLM"]
    fit(root, logs, knobbed, *words, controls="[D, T]")
    run = logs / "smoke" / "version_0"
    assert {"checkpoints", "config.yaml", "history.csv", "audio", "figures"} <= {p.name for p in run.iterdir()}
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}

    tested = nablafx("test", "-c", run / "config.yaml")
    assert tested.status == 0, tested.err
    assert "D080_T050.lead.target" in tested.out or "D080_T050" in tested.out
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert rows[-1]["file"] == "all"
    assert len(rows) == 3
    assert set(rows[0]) == {"file", *METRICS, *OF_WHOLE_FILES, *OF_SETS}
    assert list((run / "test").glob("*.png"))

    predicted = nablafx("predict", "-c", run / "config.yaml")
    assert predicted.status == 0, predicted.err
    for dry in (Path(knobbed.dry) / "test").iterdir():
        for setting in ("D020_T050", "D080_T050"):
            wet = run / "predictions" / setting / f"{dry.stem}.wav"
            assert soundfile.info(wet).frames == soundfile.info(dry).frames
            assert soundfile.info(wet).samplerate == soundfile.info(dry).samplerate

    # a newer run of the same name is not what this config asks for
    fit(root, logs, knobbed, *words, controls="[D, T]")
    validated = nablafx("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert validated.status == 0
    assert "loss/val/total" in validated.out
    assert {p.name for p in (logs / "smoke").iterdir()} == {"version_0", "version_1"}
    last = read_history(run / "history.csv")["loss/val/total"]
    assert last[-1][1] == pytest.approx(last[-2][1], rel=1e-6)


def test_predictions_carry_the_names_of_the_dry_files(root, logs, knobless):
    fit(root, logs, knobless)
    assert nablafx("predict", "-c", logs / "smoke/version_0/config.yaml").status == 0
    wet = {p.name for p in (logs / "smoke/version_0/predictions").iterdir()}
    assert wet == {f"{p.stem}.wav" for p in (Path(knobless.dry) / "test").iterdir()}


def test_resolved_config_runs_again_as_one_file(root, logs, knobless):
    fit(root, logs, knobless)
    first = logs / "smoke" / "version_0"
    again = nablafx("fit", "-c", first / "config.yaml")
    assert again.status == 0, again.err
    assert_same_weights(first / "checkpoints/last.ckpt", logs / "smoke/version_1/checkpoints/last.ckpt")
    assert (first / "config.yaml").read_text() == (logs / "smoke/version_1/config.yaml").read_text()


@pytest.mark.parametrize("tbptt", [[], ["--model.tbptt_samples", "2400"]], ids=["whole", "truncated"])
def test_resuming_the_last_checkpoint_goes_on_in_its_folder(root, logs, knobless, tbptt):
    # WarmupCosine would follow the end of the run, which moves
    tbptt, two = [*tbptt, "--model.schedule", "PlateauSchedule"], ["--trainer.max_epochs", "2"]
    fit(root, logs, knobless, *tbptt, "--name", "resumed")
    fit(root, logs, knobless, *tbptt, *two, "--name", "resumed", "--ckpt_path", "last")
    fit(root, logs, knobless, *tbptt, *two, "--name", "straight")
    assert [p.name for p in (logs / "resumed").iterdir()] == ["version_0"]
    last = "version_0/checkpoints/last.ckpt"
    assert_same_weights(logs / "resumed" / last, logs / "straight" / last)
    history = read_history(logs / "resumed/version_0/history.csv")
    assert [step for step, _ in history["loss/val/total"]] == [
        step for step, _ in read_history(logs / "straight/version_0/history.csv")["loss/val/total"]
    ]


def test_every_sink_gets_losses_metrics_learning_rate_and_audio(root, logs, knobless, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    sinks = '[{"class_path": "TensorBoardSink"}, {"class_path": "WandbSink"}]'
    fit(root, logs, knobless, "--trainer.logger", sinks)
    run = logs / "smoke" / "version_0"
    history = read_history(run / "history.csv")
    board, wandb = read_tensorboard(run / "tensorboard"), read_wandb(run)
    expected = {"loss/train/total", "loss/train/esr", "loss/train/weighted/mrstft", "loss/val/total", "lr/base"}
    expected |= {f"metrics/{stage}/{metric}" for stage in ("train", "val") for metric in METRICS}
    for scalars in (history, board.scalars, wandb.scalars):
        assert expected <= set(scalars)
    for scalars in (board.scalars, wandb.scalars):
        for name in expected:
            assert [step for step, _ in scalars[name]] == [step for step, _ in history[name]], name
            assert [v for _, v in scalars[name]] == pytest.approx([v for _, v in history[name]], rel=1e-5), name
    for audio in (board.audio, wandb.audio):
        counts = {kind: [len(v) for k, v in audio.items() if f"audio/{kind}" in k] for kind in ("input", "target")}
        assert counts == {"input": [1], "target": [1]}
        predictions = next(v for k, v in audio.items() if "audio/prediction" in k)
        assert [clip.step for clip in predictions] == [1, 2]
    assert len(list((run / "audio" / "prediction").rglob("*.wav"))) == 2


def test_dot_env_is_read_and_the_environment_wins(root, logs, knobless, monkeypatch):
    monkeypatch.setenv("LOG_ROOT", "unused")  # restored afterwards, also if .env sets it
    monkeypatch.delenv("LOG_ROOT")
    (logs.parent / ".env").write_text("LOG_ROOT=from-dot-env\n")
    words = [*config(root, "trainer/smoke"), *SMALL, *data_words(knobless), "--trainer.limit_train_batches", "1"]
    assert nablafx("fit", *words).status == 0
    assert (logs.parent / "from-dot-env" / "smoke" / "version_0" / "config.yaml").exists()


def test_names_come_from_the_files(root, logs, knobless):
    files = ("data/demo-comp", "model/tcn/45-s", "model/with/tfilm", "trainer/smoke")
    words = ["--trainer.limit_train_batches", "1", "--log_root", logs]
    result = nablafx("fit", *config(root, *files), *data_words(knobless), *words)
    assert result.status == 0, result.err
    assert (logs / "demo-comp" / "tcn-45-s+tfilm" / "smoke" / "version_0" / "config.yaml").exists()


def mistakes(root, knobless, knobbed, tmp_path):
    smoke = config(root, "trainer/smoke")
    bad_ckpt = tmp_path / "bad.ckpt"
    bad_ckpt.write_bytes(b"no checkpoint")
    good = [*smoke, *SMALL, *data_words(knobless)]
    film = ["--model.effect.init_args.conditioning", "FiLM"]
    return {
        "unknown option": ([*good, "--model.lrr", "1"], ["lrr", "Did you mean 'lr'?"]),
        "unknown argument": (
            [*good, "--model.effect.init_args.channel_widht", "1"],
            ["channel_widht", "channel_width"],
        ),
        "unknown class": ([*good, "--model.effect", "TNC"], ["TNC", "Did you mean 'TCN'?"]),
        "no such config": (["-c", "nowhere.yaml"], ["nowhere.yaml"]),
        "no model": ([*smoke, *data_words(knobless)], ["model.effect"]),
        "no folder": ([*smoke, *SMALL, "--data.dry", "nowhere", "--data.wet", "nowhere"], ["nowhere"]),
        "settings, no controls": ([*smoke, *SMALL, *data_words(knobbed)], ["D020_T050", "controls"]),
        "unknown knob": ([*smoke, *SMALL, *film, *data_words(knobbed, controls="[D, U]")], ["'U'", "T"]),
        "unheard controls": (
            [*smoke, *SMALL, *data_words(knobbed, controls="[D, T]")],
            ["2 controls (D, T)", "film.yaml"],
        ),
        "no controls to hear": ([*good, *film], ["FiLM", "controls"]),
        "unreadable checkpoint": ([*good, "--ckpt_path", bad_ckpt], ["bad.ckpt", "cannot be read"]),
        "missing checkpoint": ([*good, "--ckpt_path", "gone.ckpt"], ["there is no checkpoint gone.ckpt"]),
        "no run to resume": ([*good, "--ckpt_path", "last"], ["there is no run with a checkpoint"]),
        "clipping in the wrong place": ([*good, "--trainer.gradient_clip_val", "1"], ["model.gradient_clip_val"]),
        "too short": ([*good, "--data.segment_length", "600"], ["too short", "1025"]),
    }


def test_mistakes_get_one_clear_message_and_leave_nothing(root, logs, knobless, knobbed, tmp_path):
    for name, (words, fragments) in mistakes(root, knobless, knobbed, tmp_path).items():
        result = nablafx("fit", *words, "--log_root", logs)
        assert result.status == 1, name
        for fragment in fragments:
            assert fragment in result.err, (name, result.err)
        assert "Traceback" not in result.err, name
        assert not list(logs.rglob("*")), name


def test_another_models_checkpoint_is_refused(root, logs, knobless):
    fit(root, logs, knobless)
    file = logs / "smoke/version_0/checkpoints/last.ckpt"
    words = [*config(root, "trainer/smoke"), "--model.effect", "LSTM", *data_words(knobless), "--log_root", logs]
    result = nablafx("test", *words, "--ckpt_path", file)
    assert result.status == 1
    assert "another model's" in result.err
    assert "effect.lstm" in result.err or "effect.blocks" in result.err


def test_wandb_online_without_a_key_is_told_before_anything_starts(root, logs, knobless, monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    words = [*config(root, "trainer/smoke", "trainer/logger/wandb"), *SMALL, *data_words(knobless)]
    result = nablafx("fit", *words, "--log_root", logs)
    assert result.status == 1
    assert "WANDB_API_KEY" in result.err
    assert "WANDB_MODE=offline" in result.err


def test_help_and_version_answer_without_torch():
    code = (
        "import sys; from nablafx.cli import main; main(['--help']); main(['--version']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fit" in done.stdout
    assert done.stdout.strip().endswith("False")


def test_unknown_command_is_answered_with_the_nearest():
    result = nablafx("fitt")
    assert result.status == 2
    assert "'fit'" in result.err


def test_checkpoints_hold_no_code(root, logs, knobless):
    fit(root, logs, knobless)
    for name in ("best", "last"):
        torch.load(logs / f"smoke/version_0/checkpoints/{name}.ckpt", weights_only=True)


def test_saved_config_is_plain_yaml_without_this_machines_secrets(root, logs, knobless, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret-of-the-user")
    fit(root, logs, knobless)
    text = (logs / "smoke/version_0/config.yaml").read_text()
    assert yaml.safe_load(text)["data"]["dry"] == str(knobless.dry)
    assert "secret-of-the-user" not in text
