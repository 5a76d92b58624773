"""Runs of the command line that are killed at any moment, stopped, or begun twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from nablafx.cli import main
from nablafx.training.checkpoints import read_checkpoint
from tests.cli import config, data_words, nablafx
from tests.conftest import ROOT
from tests.readback import read_history

WAIT_S = 120.0  # of a machine that has much else to do


@pytest.fixture
def words(knobless, tmp_path, monkeypatch):
    """A training of 24 short batches; every one is saved."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_ROOT", str(tmp_path / "logs"))
    effect = ["--model.effect", "TCN", "--model.effect.init_args.num_blocks", "2"]
    sizes = ["--trainer.max_epochs", "6", "--trainer.limit_train_batches", "4", "--trainer.limit_val_batches", "1"]
    often = ["--checkpoint.save_every_minutes", "1e-9", "--media.log_media_every_n_steps", "5", "--media.figures", "[]"]
    return [*config(ROOT, "trainer/smoke"), *effect, *data_words(knobless), *sizes, *often]


def forked(command, *words):
    """`nablafx COMMAND WORDS` in a process of its own, which need not import anything again."""
    process = os.fork()
    if process:
        return process
    status = 99
    try:
        sys.stdout = sys.stderr = Path("output").open("a", buffering=1)  # noqa: SIM115  the process ends with it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = main([command, *words])
    finally:
        os._exit(status)


def ended(process):
    """Its exit status as a shell says it."""
    started = time.monotonic()
    while time.monotonic() - started < WAIT_S:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    raise AssertionError(f"process {process} did not end: {Path('output').read_text()[-2000:]}")


def wait_for(condition, process):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < WAIT_S, Path("output").read_text()[-2000:]
        assert os.waitpid(process, os.WNOHANG) == (0, 0), Path("output").read_text()[-2000:]
        time.sleep(0.002)


def assert_readable(run):
    """Whatever is there under its own name is whole."""
    for path in (run / "checkpoints").glob("[!.]*.ckpt"):
        read_checkpoint(path)
    for name, read in (("run.json", json.loads), ("config.yaml", yaml.safe_load)):
        if (run / name).exists():
            assert read((run / name).read_text())
    if (run / "history.csv").exists():
        read_history(run / "history.csv")


def assert_same_end(run, straight, kills):
    ours, theirs = (read_checkpoint(folder / "checkpoints/last.ckpt") for folder in (run, straight))
    assert ours["global_step"] == theirs["global_step"] == 24
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
    ours, theirs = ((folder / "history.csv").read_text().splitlines() for folder in (run, straight))
    # a kill between the checkpoint of a step and its row in the log costs that row
    assert ours == [row for row in theirs if row in ours]
    assert len(theirs) - len(ours) <= kills
    records = [json.loads((folder / "run.json").read_text()) for folder in (run, straight)]
    for record in records:
        assert record.pop("seconds") > 0
    assert records[0] == {**records[1], "name": records[0]["name"]}
    assert records[0]["finished"]
    files = [sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file()) for folder in (run, straight)]
    assert files[0] == files[1], "and no leftovers"


def kill_often(words, kills, longest_s):
    assert nablafx("fit", *words, "--name", "straight").status == 0
    run = Path("logs/killed/version_0")
    last = run / "checkpoints/last.ckpt"
    chance = random.Random(kills)
    resume = []
    for _ in range(kills):
        process = forked("fit", *words, "--name", "killed", *resume)
        # until it trains, killing it proves little
        before = last.stat().st_mtime_ns if last.exists() else 0
        with suppress(AssertionError):  # it came to its end first
            wait_for(lambda before=before: last.exists() and last.stat().st_mtime_ns != before, process)
            time.sleep(chance.uniform(0, longest_s))
            os.kill(process, signal.SIGKILL)
            assert ended(process) in (0, 128 + signal.SIGKILL)
        assert_readable(run)
        resume = ["--ckpt_path", "last"]
    assert ended(forked("fit", *words, "--name", "killed", *resume)) == 0
    assert_same_end(run, Path("logs/straight/version_0"), kills)
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]


def test_a_killed_run_ends_as_one_that_was_not(words):
    kill_often(words, 1, 0.3)


@pytest.mark.slow
def test_twenty_kills(words):
    kill_often(words, 20, 0.2)


def test_a_run_is_trained_by_one_process_and_stopped_by_sigterm(words):
    process = forked(
        "fit", *words, "--name", "one", "--trainer.max_epochs", "9999", "--early_stopping.patience", "9999"
    )
    run = Path("logs/one/version_0")
    wait_for((run / "checkpoints/last.ckpt").exists, process)
    second = nablafx("fit", *words, "--name", "one", "--ckpt_path", "last")
    assert second.status == 1
    assert f"process {process} on " in second.err
    assert "two runs must not write one folder" in second.err
    # what only looks may
    tested = nablafx("test", *words, "--name", "one")
    assert tested.status == 0, tested.err
    os.kill(process, signal.SIGTERM)
    assert ended(process) == 128 + signal.SIGTERM
    told = Path("output").read_text()
    assert f"nablafx fit -c {run}/config.yaml --ckpt_path last" in told.replace(f"{Path.cwd()}/", "")
    assert "Traceback" not in told
    record = json.loads((run / "run.json").read_text())
    assert not record["finished"]
    assert record["test"]["checkpoint"].endswith("best.ckpt"), "neither of the two writers has lost the other's"
    assert record["steps"] == read_checkpoint(run / "checkpoints/last.ckpt")["global_step"]
    # and the folder is free
    assert_readable(run)
    again = [*words, "--name", "one", "--ckpt_path", "last", "--trainer.max_steps", str(record["steps"] + 1)]
    assert nablafx("fit", *again, "--trainer.max_epochs", "-1").status == 0
