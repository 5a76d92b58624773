"""--repeats: a process a seed, and one split for all."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from nablafx.training import repeats
from nablafx.training.record import read_record
from tests.cli import config, data_words, nablafx
from tests.conftest import ROOT

FILES = config(ROOT, "model/lstm/32", "trainer/smoke")


@pytest.fixture
def calls(monkeypatch):
    """What would be run; the third run fails where `fail` is in its words."""
    made: list[list[str]] = []

    def run(command, **_):
        made.append(command)
        return SimpleNamespace(returncode=3 if "fail" in command and len(made) == 2 else 0)

    monkeypatch.setattr(subprocess, "run", run)
    return made


@pytest.mark.parametrize(("given", "first"), [([], 42), (["--seed_everything", "7"], 7), (["--seed_everything=9"], 9)])
def test_each_run_has_the_next_seed(calls, given, first):
    done = nablafx("fit", *FILES, *given, "--repeats", "3", "--log_root", "x")
    assert done.status == 0
    words = ["fit", *FILES, "--log_root", "x"]
    start = [sys.executable, "-m", "nablafx"]
    assert calls == [[*start, *words, "--seed_everything", str(first + n)] for n in range(3)]
    assert done.out.splitlines()[-1].endswith("nablafx compare x/lstm-32/smoke")


def test_a_seed_in_a_file_counts(calls, tmp_path):
    (tmp_path / "seed.yaml").write_text("seed_everything: 5")
    assert nablafx("fit", "-c", tmp_path / "seed.yaml", "--repeats=1").status == 0
    assert calls[0][-2:] == ["--seed_everything", "5"]


def test_a_run_that_fails_ends_them_with_the_way_to_go_on(calls):
    done = nablafx("fit", *FILES, "--repeats", "4", "fail")
    assert done.status == 1
    assert len(calls) == 2
    assert "the run with seed 43 failed (exit status 3), and 2 were not begun" in done.err
    assert "--seed_everything 43 --repeats 3" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repeats", "0"], "--repeats is 0; it needs a number of runs, 1 or more"),
        (["--repeats", "many"], "--repeats is many"),
        (["--repeats", "2", "--ckpt_path", "last"], "--repeats begins new runs"),
        (["--repeats", "2", "--seed_everything", "true"], "seed_everything is true; --repeats counts on from a number"),
    ],
)
def test_what_makes_no_sense_is_refused(calls, words, message):
    done = nablafx("fit", *FILES, *words)
    assert (done.status, message in done.err, calls) == (1, True, [])


def test_in_a_file_it_is_refused(tmp_path, knobless):
    (tmp_path / "many.yaml").write_text("repeats: 3")
    done = nablafx("fit", *FILES, "-c", tmp_path / "many.yaml", *data_words(knobless), "--log_root", tmp_path / "logs")
    assert (done.status, "stands in a config" in done.err) == (1, True)


def test_options_are_taken_out_of_the_words():
    assert repeats.take(["a", "--x", "1", "--y=2", "--x=3", "-x"], "--x") == (["a", "--y=2", "-x"], ["1", "3"])


@pytest.mark.slow  # two processes, each of which imports Lightning
def test_real_runs_share_their_split(knobless, tmp_path):
    words = [*FILES, *data_words(knobless), "--log_root", tmp_path, "--audio.log_audio_every_n_steps", "0"]
    assert nablafx("fit", *words, "--repeats", "2").status == 0
    records = [read_record(tmp_path / f"lstm-32/smoke/version_{n}") for n in range(2)]
    assert [record["seed"] for record in records] == [42, 43]
    assert records[0]["split"] == records[1]["split"]
    assert records[0]["best_validation_loss"] != records[1]["best_validation_loss"]
