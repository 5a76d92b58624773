"""Sweeps on Ray: all trials complete once, whatever is lost; fit and test are stubs where nothing else is said."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nablafx.sweep.spec import read_spec
from nablafx.sweep.states import STOP_FILE, runs_of
from nablafx.sweep.trials import table_of
from tests.cli import nablafx
from tests.conftest import ROOT

from .layout import STUB, finished, starts
from .test_keeper import gone, waits

ray = pytest.importorskip("ray", reason="the extra nablafx[sweep] is not installed")
pytestmark = pytest.mark.timeout(900)
SLOWLY = {"STUB_STEPS": "6", "STUB_SECONDS": "1"}
LONG_S = 240  # for what takes seconds on a machine of one's own


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty current directory, with stubs of fit and test for all processes that begin in it."""
    path = os.pathsep.join([str(ROOT), str(STUB.parent)])
    for name, value in {"PYTHONPATH": path, "STUB_STARTS": tmp_path / "starts", "LOG_ROOT": tmp_path / "logs"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(place: Path, models: str = "lstm/{32,96}", **more: object) -> Path:
    """A sweep's file; JSON is YAML."""
    file = place / "sweep.yaml"
    file.write_text(json.dumps({"data": "demo-overdrive", "model": models, "trainer": "smoke", **more}))
    return file


def begin(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nablafx", "sweep", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    )


def ended(driver: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its status, and what it printed."""
    out, err = driver.communicate(timeout=LONG_S)
    return driver.returncode, out, err


def completed_once(place: Path, trials: int) -> None:
    """Each trial has one run with a checkpoint, which is finished and tested."""
    done = finished(place / "logs")
    assert len(done) == len(set(done)) == trials
    assert len(list((place / "logs").rglob("last.ckpt"))) == trials
    assert len(list((place / "logs").rglob("metrics.csv"))) == trials


def fits(place: Path) -> list[dict]:
    return [start for start in starts(place / "starts") if start["words"][0] == "fit"]


@pytest.fixture
def cluster(place, monkeypatch) -> Iterator:
    """Ray with a head that runs no trials; nodes are added to it."""
    from ray.cluster_utils import Cluster

    for name, value in SLOWLY.items():
        monkeypatch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def test_on_this_machine(place):
    file = sweep(place)
    status, out, err = ended(begin(file, "--cpus", "1", "--", "--model.lr=0.5"))
    assert (status, err) == (0, "")
    completed_once(place, 2)
    assert "2 done\n" in out
    assert f"Next: nablafx compare {place}/logs/demo-overdrive" in out
    for start in fits(place):
        assert start["words"][-3:] == ["--model.lr=0.5", "--log_root", str(place / "logs")]
        seen = start["environment"]
        assert [seen[name] for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "RAY_USAGE_STATS_ENABLED")] == [
            *("1", "", "0")
        ]
    # what Tune and trials kept for themselves is gone or hidden
    assert {path.name for path in (place / "logs").iterdir()} == {"demo-overdrive"}
    before = (place / "starts").read_text()
    assert "2 trials, 2 done before" in ended(begin(file))[1]
    assert (place / "starts").read_text() == before


def test_no_cluster_is_told_with_the_way_to_one(place, monkeypatch):
    def init(**_):
        raise ConnectionError("Could not find any running Ray instance.\nMore words")

    monkeypatch.setattr(ray, "init", init)
    told = nablafx("sweep", sweep(place), "--address", "auto")
    assert (told.status, told.err) == (
        1,
        "nablafx sweep: --address auto: Could not find any running Ray instance.; `ray start --head` begins one\n",
    )


@pytest.mark.slow
def test_a_node_is_lost_and_all_trials_complete_once(place, cluster):
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    driver = begin(sweep(place, "{lstm/32,tcn/45-s}", seeds=3), "--address", cluster.address)
    assert waits(lambda: len(list(place.rglob("last.ckpt"))) == 2, LONG_S)  # one on each node
    going = [start["pid"] for start in fits(place)]
    cluster.remove_node(nodes[0], allow_graceful=False)
    status, out, err = ended(driver)
    assert (status, err) == (0, ""), out
    completed_once(place, 6)
    names = Counter(re.findall(r"lost    (\S+, seed \d+)", out))
    assert list(names.values()) == [1]
    resumed = [start["words"] for start in fits(place) if "--ckpt_path" in start["words"]]
    assert len(resumed) == 1  # it went on where it was
    assert all(gone(pid) for pid in going)
    assert "6 done" in out


@pytest.mark.slow
def test_parts_of_a_gpu(place, cluster):
    """Ray believes in GPUs that it is told of; two trials share each, though there are cores for eight."""
    cluster.add_node(num_cpus=8, num_gpus=2)
    file = sweep(place, seeds=3, resources={"cpus": 2, "gpus": 0.5})
    status, out, err = ended(begin(file, "--address", cluster.address, STUB_SECONDS="0.5"))
    assert (status, err) == (0, ""), out
    completed_once(place, 6)
    seen = [start["environment"] for start in fits(place)]
    assert {one["CUDA_VISIBLE_DEVICES"] for one in seen} == {"0", "1"}
    assert {one["OMP_NUM_THREADS"] for one in seen} == {"2"}
    status, out, err = ended(begin(file, "--address", cluster.address, "--gpus", "3", "--seeds", "4"))
    assert (status, err.strip().splitlines()[-1]) == (
        1,
        "nablafx sweep: a trial needs 3 GPU, and no machine has more than 2; set --gpus",
    )


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
def test_a_driver_that_is_ended_can_be_called_again(sent, place):
    # what is started in the background of a shell may have it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = sweep(place, seeds=2)
    driver = begin(file, "--cpus", "1", **SLOWLY)
    assert waits(lambda: list(place.rglob("last.ckpt")), LONG_S)
    driver.send_signal(sent)
    status, out, err = ended(driver)
    assert status == (-sent if sent == signal.SIGKILL else 128 + sent), out
    if sent != signal.SIGKILL:
        assert f"closed. Go on with: nablafx sweep {file} --cpus 1" in err
        assert all(gone(start["pid"]) for start in fits(place))
    # of a killed one, workers learn when Ray misses it
    assert waits(lambda: all(gone(start["pid"]) for start in fits(place)), LONG_S)
    status, out, err = ended(begin(file, "--cpus", "1"))
    assert (status, err) == (0, ""), out
    completed_once(place, 4)
    assert any("--ckpt_path" in start["words"] for start in fits(place))


@pytest.mark.slow
def test_what_fails_does_not_stop_the_others(place):
    """Their place is told at the end, with what to look at."""
    (place / "fails.yaml").write_text("model: {lr: 1}")
    status, out, err = ended(begin(sweep(place, ["lstm/32", "fails.yaml"], seeds=2, retries=1), "--cpus", "1"))
    assert status == 1
    assert len(finished(place / "logs")) == 2
    first, *told = err.splitlines()
    assert first == "nablafx sweep: 2 trials failed; the same command tries again"
    for line in told:
        assert re.match(r"  demo-overdrive/fails/smoke, seed 4\d: exit status 3 \(it fails\); ", line)
        assert "it fails" in Path(line.rpartition("; ")[2]).read_text()
    tries = Counter(start["words"][start["words"].index("--name") + 1] for start in fits(place))
    assert tries == {"demo-overdrive/fails/smoke": 4, "demo-overdrive/lstm-32/smoke": 2}
    assert "2 not begun, 2 done" in out


@pytest.mark.slow
def test_a_search_stops_what_is_behind(place):
    """One at a time, so that at the second step each is compared with those before it: a quarter may go on."""
    search = {"samples": 8, "parameters": {"model.lr": {"log": [0.1, 10.0]}}, "asha": {"grace_steps": 2}}
    file = sweep(place, "lstm/32", search=search)
    status, out, err = ended(begin(file, "--cpus", os.cpu_count(), STUB_STEPS="7", STUB_SECONDS="1.5"))
    assert (status, err) == (0, ""), out
    expected, losses = {}, []
    for trial in table_of(read_spec(str(file))).trials:
        losses.append(float(dict(trial.settings)["model.lr"]) + 1 / 2)  # the stub's
        expected[trial.name] = "done" if losses[-1] <= np.percentile(losses[:-1] or losses, 25) else "stopped"
    assert set(expected.values()) == {"done", "stopped"}
    found = {name: runs_of(place / "logs", name)[42] for name in expected}
    assert {name: state for name, (state, _) in found.items()} == expected
    for state, folder in found.values():
        if state == "stopped":
            said = json.loads((folder / STOP_FILE).read_text())
            reached = int((folder / "checkpoints/last.ckpt").read_text())
            assert said["by"] == "asha"
            assert 2 <= said["step"] <= reached < 7
    states = Counter(expected.values())
    assert f"{states['stopped']} stopped early, {states['done']} done" in out
    best = min(trial for trial in losses) - 1 / 2 + 1 / 7
    assert f"{best:.4g}" in out.partition("best of")[2].splitlines()[2]
    assert "8 trials, 8 done before" in ended(begin(file))[1]


@pytest.mark.slow  # four processes that import Lightning
def test_models_that_train(place, monkeypatch):
    """The same without stubs, and on to a comparison."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (place / "demo").symlink_to(ROOT / "demo")
    words = [sweep(place, seeds=2), "--cpus", "1", "--", "--media.log_media_every_n_steps", "0"]
    driver = begin(*words)
    assert waits(lambda: list(place.rglob("last.ckpt")), LONG_S)
    driver.kill()
    driver.communicate()
    driver = begin(*words)
    out, err = driver.communicate(timeout=4 * LONG_S)
    assert (driver.returncode, err) == (0, ""), out
    completed_once(place, 4)
    compared = subprocess.run(
        [sys.executable, "-m", "nablafx", "compare", place / "logs/demo-overdrive"], capture_output=True, text=True
    )
    assert compared.returncode == 0, compared.stderr
    assert "42 43" in (place / "comparison/comparison.csv").read_text()
