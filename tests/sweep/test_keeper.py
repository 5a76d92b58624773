"""The keeper of a trial: goes on from where it is, tries again, tells, and ends what it runs when nobody listens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nablafx.sweep import keeper as module
from nablafx.sweep.keeper import Keeper, follow, history, lock_of, locked
from nablafx.sweep.states import STOP_FILE, folders_of, runs_of

from .layout import STUB, finished, job, lay_out, starts

NAME = "data/model/trainer"


@pytest.fixture
def keep(tmp_path, monkeypatch, capsys):
    """Keep a job in this process, with stubs of fit and test; returns its end and what it told."""
    monkeypatch.setattr(module, "COMMAND", [sys.executable, str(STUB)])
    monkeypatch.setattr(module, "POLL_S", 0.02)
    monkeypatch.setenv("STUB_STARTS", str(tmp_path / "starts"))
    lifeline, held = os.pipe()

    def run(given):
        kept = Keeper(given, lifeline)
        with locked(lock_of(given["root"], given["name"], given["seed"]), lambda: None) as kept.lock:
            kept.run()
        *told, end = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert end.pop("seconds") >= 0
        return end, told

    yield run
    os.close(lifeline)
    os.close(held)


def called(tmp_path: Path) -> list[list[str]]:
    return [start["words"] for start in starts(tmp_path / "starts")]


def test_from_nothing_to_done(keep, tmp_path):
    end, told = keep(job(tmp_path))
    folder = tmp_path / NAME / "version_0"
    assert end == {"state": "done", "folder": str(folder), "log": str(folder / "trial.log")}
    begun = ["fit", "--seed_everything", "42", "--name", NAME, "--log_root", str(tmp_path)]
    assert called(tmp_path) == [begun, ["test", "-c", str(folder / "config.yaml")]]
    assert [event["task"] for event in told] == ["fit", "test"]
    assert told[-1]["folder"] == str(folder)
    log = (folder / "trial.log").read_text()
    assert log.splitlines() == [f"== nablafx {' '.join(words)}" for words in called(tmp_path)]
    assert not list((tmp_path / NAME).glob("*.log"))


def test_what_is_begun_goes_on_and_what_is_trained_is_tested(keep, tmp_path):
    begun = lay_out(tmp_path, NAME, 42)
    trained = lay_out(tmp_path, NAME, 43, finished=True)
    assert [keep(job(tmp_path, seed=seed))[0]["folder"] for seed in (42, 43)] == [str(begun), str(trained)]
    assert called(tmp_path) == [
        ["fit", "-c", f"{begun}/config.yaml", "--ckpt_path", "last"],
        ["test", "-c", f"{begun}/config.yaml"],
        ["test", "-c", f"{trained}/config.yaml"],
    ]
    assert len(folders_of(tmp_path, NAME)) == 2


def test_what_is_done_or_stopped_is_left_alone(keep, tmp_path):
    lay_out(tmp_path, NAME, 42, finished=True, tested=True)
    (lay_out(tmp_path, NAME, 43) / STOP_FILE).touch()
    for seed, state in ((42, "done"), (43, "stopped")):
        end, told = keep(job(tmp_path, seed=seed))
        assert (end["state"], told) == (state, [])
    assert called(tmp_path) == []


@pytest.mark.parametrize("retries", [0, 2])
def test_what_fails_is_tried_again_so_often(retries, keep, tmp_path):
    end, _ = keep(job(tmp_path, "data/fails/trainer", retries=retries))
    assert (end["state"], end["problem"]) == ("failed", "exit status 3 (it fails)")
    assert len(called(tmp_path)) == retries + 1
    assert Path(end["log"]).read_text().count("it fails") == retries + 1


def test_what_stumbles_goes_on_in_its_folder(keep, tmp_path):
    end, _ = keep(job(tmp_path, "data/stumbles/trainer"))
    assert end["state"] == "done"
    assert [words[:2] for words in called(tmp_path)][1][0] == "fit"
    assert "--ckpt_path" in called(tmp_path)[1]
    assert list(folders_of(tmp_path, "data/stumbles/trainer")) == [tmp_path / "data/stumbles/trainer/version_0"]


def test_a_fit_that_ends_before_its_time_is_no_endless_loop(keep, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMMAND", [sys.executable, "-c", ""])
    end, _ = keep(job(tmp_path))
    assert (end["state"], end["problem"]) == ("failed", "it ended before its time")


def test_validations_are_told_once_each(keep, tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_STEPS", "3")
    _, told = keep(job(tmp_path, metric="loss/val/total"))
    assert [(event["step"], event["value"]) for event in told if "value" in event] == [(1, 1), (2, 0.5), (3, 1 / 3)]


def test_a_metric_that_is_not_there_is_told_with_the_nearest(keep, tmp_path):
    end, _ = keep(job(tmp_path, metric="loss/val/totl", retries=0))
    assert (end["state"], "did you mean loss/val/total?" in end["problem"]) == ("failed", True)


def test_the_child_sees_its_threads_and_no_job_around_it(keep, tmp_path, monkeypatch):
    for name in ("SLURM_NTASKS", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "8")
    keep(job(tmp_path, threads=3))
    for start in starts(tmp_path / "starts"):
        assert not {"SLURM_NTASKS", "LOCAL_RANK", "WORLD_SIZE"} & start["environment"].keys()
        assert start["environment"]["OMP_NUM_THREADS"] == start["environment"]["MKL_NUM_THREADS"] == "3"


def test_half_a_row_of_a_history_is_left_for_later(tmp_path):
    assert history(tmp_path, "loss") == []
    (tmp_path / "history.csv").write_text("step,other,loss\n1,,0.5\n2,3.0,\n3,,0.25\n4,,-")
    assert history(tmp_path, "loss") == [(1, 0.5), (3, 0.25)]


def test_a_keeper_is_light():
    """There is one a trial, beside its worker and its run."""
    code = "import sys, nablafx.sweep.keeper; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "numpy", "ray", "rich"} & set(done.stdout.split())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def waits(condition, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """For a keeper in a process of its own, whose fit takes long."""
    path = os.pathsep.join([str(STUB.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "STUB_STARTS": str(tmp_path / "starts"), "STUB_STEPS": "1000", "STUB_SECONDS": "0.1"}


def test_a_trial_whose_listener_leaves_is_ended_and_the_next_keeper_goes_on_with_it(tmp_path, environment):
    asked = job(tmp_path, metric="loss/val/total", environment=environment)
    events = follow(asked)
    first = next(event for event in events if "value" in event)
    events.close()  # a worker that is stopped
    (start,) = starts(tmp_path / "starts")
    assert gone(start["pid"])
    state, folder = runs_of(tmp_path, NAME)[42]
    assert (state, str(folder)) == ("begun", first["folder"])
    reached = int((folder / "checkpoints/last.ckpt").read_text())

    *_, last = follow({**asked, "environment": {**environment, "STUB_STEPS": str(reached + 1)}})
    assert last["state"] == "done"
    assert finished(tmp_path) == [(NAME, 42)]
    assert list(folders_of(tmp_path, NAME)) == [folder]


def test_a_trial_whose_keeper_is_killed_stays_locked_until_it_ends(tmp_path, environment):
    """Two never run at once, whatever becomes of keepers."""
    events = follow(job(tmp_path, metric="loss/val/total", environment=environment))
    next(event for event in events if "value" in event)
    (start,) = starts(tmp_path / "starts")
    parent = int(Path(f"/proc/{start['pid']}/stat").read_text().split()[3])
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="ended before it"):
        list(events)
    assert not gone(start["pid"])

    tries = []

    def waiting():
        tries.append(1)
        if len(tries) == 3:
            os.kill(start["pid"], signal.SIGKILL)

    with locked(lock_of(tmp_path, NAME, 42), waiting):
        assert waits(lambda: gone(start["pid"]))
    assert len(tries) >= 3
