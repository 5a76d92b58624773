"""run.json tells what a run was and heard, and how far it got."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from nablafx.training.record import read_record
from nablafx.training.system import System
from tests.cli import config, data_words, nablafx
from tests.conftest import ROOT

SMALL = [
    "--model.effect",
    "TCN",
    "--model.effect.init_args.num_blocks",
    "2",
    "--model.effect.init_args.channel_width",
    "4",
]


def fit(root, demo, *words, seed=42):
    cut = [*config(ROOT, "trainer/smoke"), "--media.log_media_every_n_steps", "0", "--seed_everything", seed]
    done = nablafx("fit", *cut, *SMALL, *data_words(demo), "--log_root", root, *words)
    assert done.status == 0, done.err
    return sorted((root / "smoke").glob("version_*"))[-1]


def test_a_run_tells_of_itself(knobless, tmp_path):
    folder = fit(tmp_path, knobless, seed=7)
    record = read_record(folder)
    assert (record["name"], record["seed"], record["finished"], record["steps"]) == ("smoke", 7, True, 2)
    assert (record["effect"], record["sample_rate"], record["device"]) == ("TCN", 48_000, "cpu")
    # two blocks of 7 taps, a residual each, and the output
    assert record["parameters"] == record["trainable"] == (7 + 1) * 4 + 4 + (7 * 4 + 1) * 4 + 4 + 5
    assert record["receptive_field"] == 1 + 6 + 24
    assert record["controls"] == []
    assert record["best_step"] == torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["global_step"]
    (chords, riffs) = record["split"]["files"]
    assert (chords["name"], chords["frames"]) == ("chords.target", 57_600)
    assert chords["train"][0] == 0
    assert chords["train"][1] + 12_000 == chords["val"][0]
    assert chords["val"][1] == riffs["val"][1] == 57_600
    assert "test" not in record

    tested = nablafx("test", "-c", folder / "config.yaml")
    assert tested.status == 0, tested.err
    after = read_record(folder)
    assert after["test"]["files"] == [{"name": "t-riffs.target", "frames": 57_600}]
    assert after["test"]["checkpoint"] == str(folder / "checkpoints/best.ckpt")
    assert after["test"]["step"] == record["best_step"]
    assert {key: value for key, value in after.items() if key != "test"} == record


def test_the_split_is_that_of_the_data_and_not_of_the_seed(knobless, tmp_path):
    first, other_seed = (read_record(fit(tmp_path, knobless, seed=seed)) for seed in (1, 2))
    assert first["split"] == other_seed["split"]
    shorter = read_record(fit(tmp_path, knobless, "--data.segment_length", "2400"))
    less = read_record(fit(tmp_path, knobless, "--data.data_to_use", "0.5"))
    assert len({record["split"]["fingerprint"] for record in (first, shorter, less)}) == 3


def test_knobs_are_told_of_the_run_and_of_each_file(knobbed, tmp_path):
    words = ["--model.effect.init_args.conditioning", "FiLM", "--data.controls", "[D, T]"]
    record = read_record(fit(tmp_path, knobbed, *words))
    assert record["controls"] == ["D", "T"]
    assert {file["name"].split(".")[0]: file["controls"] for file in record["split"]["files"]} == {
        "D020_T050": [0.2, 0.5],
        "D080_T050": [0.8, 0.5],
    }


def test_a_resumed_fit_keeps_its_seed_and_no_test_of_earlier_weights(knobless, tmp_path):
    folder = fit(tmp_path, knobless, seed=7)
    assert nablafx("test", "-c", folder / "config.yaml").status == 0
    assert "test" in read_record(folder)
    assert fit(tmp_path, knobless, "--ckpt_path", "last", "--trainer.max_epochs", "2", seed=8) == folder
    resumed = read_record(folder)
    assert (resumed["seed"], resumed["epochs"], resumed["finished"]) == (7, 2, True)
    assert "test" not in resumed


def test_ctrl_c_does_not_finish(knobless, tmp_path, monkeypatch):
    def pressed(self, batch, index):
        raise KeyboardInterrupt

    monkeypatch.setattr(System, "training_step", pressed)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Lightning would leave this process deaf to Ctrl-C
    with pytest.raises(SystemExit):
        fit(tmp_path, knobless)
    (folder,) = (tmp_path / "smoke").iterdir()
    assert (read_record(folder)["finished"], read_record(folder)["steps"]) == (False, 0)


def test_what_breaks_off_is_not_finished_until_it_is_resumed(knobless, tmp_path, monkeypatch):
    step = System.training_step

    def breaks(self, batch, index):
        if self.global_step:
            raise RuntimeError("the power is gone")
        return step(self, batch, index)

    words = [*config(ROOT, "trainer/smoke"), *SMALL, *data_words(knobless), "--log_root", tmp_path]
    words += ["--media.log_media_every_n_steps", "0", "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "1"]
    monkeypatch.setattr(System, "training_step", breaks)
    with pytest.raises(RuntimeError, match="the power is gone"):
        nablafx("fit", *words)
    (folder,) = (tmp_path / "smoke").iterdir()
    broken = read_record(folder)
    assert (broken["finished"], broken["steps"]) == (False, 1)
    monkeypatch.setattr(System, "training_step", step)
    assert nablafx("fit", *words, "--ckpt_path", "last").status == 0
    resumed = read_record(folder)
    assert (resumed["finished"], resumed["steps"], resumed["epochs"]) == (True, 2, 2)
    assert resumed["seconds"] > broken["seconds"]


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    assert read_record(tmp_path) == {}
    (tmp_path / "run.json").write_text("{")
    assert read_record(tmp_path) == {}
    (tmp_path / "run.json").write_text(json.dumps([1]))
    assert read_record(tmp_path) == {}
