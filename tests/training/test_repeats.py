"""--repeats: a process a seed, and one split for all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nablafx.cli import main
from nablafx.training import repeats
from nablafx.training.record import read_record
from tests.cli import config, data_words, nablafx
from tests.conftest import ROOT

FILES = config(ROOT, "model/lstm/32", "trainer/smoke")


@pytest.fixture
def calls(monkeypatch):
    """What would be run; the second run fails where `fail` is in its words."""
    made: list[list[str]] = []

    def call(command):
        made.append(command)
        return 3 if "fail" in command and len(made) == 2 else 0

    monkeypatch.setattr(repeats, "call", call)
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
    assert done.status == 3
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


def test_a_file_that_cannot_be_read_is_told(calls, tmp_path):
    (tmp_path / "broken.yaml").write_text("a: [")
    done = nablafx("fit", "-c", tmp_path / "broken.yaml", "--repeats", "2")
    assert (done.status, "broken.yaml cannot be read" in done.err, calls) == (1, True, [])


def test_the_folders_are_listed_also_of_a_name_in_a_file(monkeypatch, tmp_path):
    """As in the resolved config of an earlier run; a run that another process begins meanwhile is not among them."""
    place = tmp_path / "logs/mine"

    def call(command):
        for seed in (command[-1], 99):
            folder = place / f"version_{len(list(place.glob('*')))}"
            folder.mkdir(parents=True)
            (folder / "run.json").write_text(json.dumps({"seed": int(seed)}))
        return 0

    monkeypatch.setattr(repeats, "call", call)
    (tmp_path / "config.yaml").write_text(f"name: mine\nlog_root: {tmp_path / 'logs'}\nseed_everything: 3")
    done = nablafx("fit", "-c", tmp_path / "config.yaml", "--repeats", "2")
    assert done.out.splitlines()[-2] == f"== 2 runs: {place / 'version_0'}, {place / 'version_2'}"
    assert done.out.splitlines()[-1].endswith(f"nablafx compare {place}")


def test_the_status_is_that_of_the_command():
    assert repeats.call([sys.executable, "-c", "exit(7)"]) == 7
    assert repeats.call(["sh", "-c", "kill -TERM $$"]) == 128 + signal.SIGTERM


class Interrupted(subprocess.Popen):
    """Ctrl-C while it is waited for, once."""

    waits = 0

    def wait(self, timeout=None):
        self.waits += 1
        if self.waits == 1:
            raise KeyboardInterrupt
        return super().wait(timeout)


def test_sigterm_for_the_caller_alone_is_handed_on(tmp_path, monkeypatch):
    """And the status tells it, so that no further run is begun."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    caller = threading.Thread(target=lambda: (wait_for(Path("begun")), os.kill(os.getpid(), signal.SIGTERM)))
    caller.start()
    script = "trap 'touch closed; exit 143' TERM; touch begun; while true; do sleep 0.05; done"
    assert repeats.call(["sh", "-c", script]) == 143
    caller.join()
    assert Path("closed").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("grace", "script", "closed"), [(30.0, "sleep 0.5; touch closed", True), (0.1, "exec sleep 60", False)]
)
def test_an_interrupted_run_may_close_its_files(monkeypatch, tmp_path, grace, script, closed):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    monkeypatch.setattr(repeats, "GRACE_S", grace)
    with pytest.raises(KeyboardInterrupt):
        repeats.call(["sh", "-c", script])
    assert Path("closed").exists() == closed


def test_repeats_are_no_setting(calls):
    """What fit prints, another command reads."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        main(["fit", *FILES, "--data.dry", "x", "--data.wet", "y", "--print_config"])
    assert "seed_everything: 42" in out.getvalue()
    assert "repeats" not in out.getvalue()
    helped = io.StringIO()
    with contextlib.redirect_stdout(helped), pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert "--repeats" in helped.getvalue()


def test_options_are_taken_out_of_the_words():
    assert repeats.take(["a", "--x", "1", "--y=2", "--x=3", "-x"], "--x") == (["a", "--y=2", "-x"], ["1", "3"])
    # without its value it is left for the parser to refuse
    assert repeats.take(["a", "--x"], "--x") == (["a", "--x"], [])


@pytest.mark.slow  # two processes, each of which imports Lightning
def test_from_repeats_to_a_comparison(knobless, tmp_path):
    words = [*FILES, *data_words(knobless), "--log_root", tmp_path, "--media.log_media_every_n_steps", "0"]
    assert nablafx("fit", *words, "--repeats", "2").status == 0
    runs = [tmp_path / f"lstm-32/smoke/version_{n}" for n in range(2)]
    records = [read_record(run) for run in runs]
    assert [record["seed"] for record in records] == [42, 43]
    assert records[0]["split"] == records[1]["split"]
    assert records[0]["best_validation_loss"] != records[1]["best_validation_loss"]
    for run in runs:
        assert nablafx("test", "-c", run / "config.yaml").status == 0
    compared = nablafx("compare", tmp_path, "--output", tmp_path / "out")
    assert compared.status == 0, compared.err
    found = [[row for row in csv.DictReader((run / "metrics.csv").open()) if row["file"] == "all"] for run in runs]
    for row in csv.DictReader((tmp_path / "out/comparison.csv").open()):
        values = [float(rows[0][row["metric"]]) for rows in found]
        assert (row["n"], row["seeds"], row["parameters"]) == ("2", "42 43", str(records[0]["parameters"]))
        if row["metric"] == "fad_mel":
            # a set of one short file is at no distance
            assert [*map(str, values), row["mean"], row["sd"]] == ["nan", "nan", "", ""]
            continue
        assert float(row["mean"]) == pytest.approx(sum(values) / 2, rel=1e-5)
        # the standard deviation of two is their distance by the root of two
        assert float(row["sd"]) == pytest.approx(abs(values[0] - values[1]) / 2**0.5, rel=1e-4, abs=1e-9)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older ones have no safe path")
@pytest.mark.parametrize("looks_here", [False, True])
def test_a_run_finds_no_modules_that_its_parent_would_not(tmp_path, monkeypatch, looks_here):
    """A folder that somebody else has made may hold a json.py."""
    (tmp_path / "json.py").write_text("import pathlib; pathlib.Path('sentinel').touch()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/usr/lib/none", *([""] if looks_here else [])])
    repeats.call([sys.executable, "-m", "json", "--help"])
    assert (tmp_path / "sentinel").exists() == looks_here
