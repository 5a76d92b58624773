"""The scripts around the study: what they call, what they refuse, and where they go on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import ROOT
from .test_scripts import bash, venv  # noqa: F401  a fixture

SCRIPTS = ("train_blackbox", "train_graybox", "train_parametric", "evaluate", "wandb_sync", "slurm_train")


@pytest.fixture
def call(venv, monkeypatch):  # noqa: F811
    """Call a script with an environment of stubs; returns what it did and the lines of nablafx that it called."""
    for tool in ("nablafx", "wandb"):
        path = venv / "bin" / tool
        path.write_text(f'#!/bin/sh\necho "$@" >>"{venv}/asked-{tool}"\ncase "$*" in *fail*) exit 3;; esac\n')
        path.chmod(0o755)

    def run(script: str, *words: object, cwd: Path = ROOT) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        for asked in venv.glob("asked-*"):
            asked.unlink()
        done = subprocess.run(
            ["bash", ROOT / "scripts" / f"{script}.sh", *map(str, words)],
            cwd=cwd,
            env={**os.environ, "NABLAFX_VENV": str(venv)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        lines = [line for asked in sorted(venv.glob("asked-*")) for line in asked.read_text().splitlines()]
        return done, lines

    bash("-ec", f"source {ROOT}/scripts/lib/environment.sh && set_up_environment ''", NABLAFX_VENV=str(venv))
    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_usage(script, call):
    done, asked = call(script, "--help")
    assert (done.returncode, asked) == (0, [])
    assert f"scripts/{script}.sh" in done.stdout
    assert "set -euo" not in done.stdout
    assert os.access(ROOT / "scripts" / f"{script}.sh", os.X_OK)
    assert len((ROOT / "scripts" / f"{script}.sh").read_text().splitlines()) <= 45


@pytest.mark.parametrize(
    ("script", "words", "called"),
    [
        ("train_blackbox", ["ibanez-ts9", "tcn/45-s"], "data/ibanez-ts9 model/tcn/45-s trainer/blackbox"),
        (
            "train_blackbox",
            ["klon-centaur", "s4/l+tfilm", "--published", "--model.lr", "1"],
            "data/klon-centaur model/s4/l model/with/tfilm trainer/published-blackbox --model.lr 1",
        ),
        ("train_blackbox", ["demo-fuzz", "lstm/32"], "data/demo-fuzz model/lstm/32 trainer/tbptt"),
        ("train_graybox", ["ampeg-optocomp", "comp"], "data/ampeg-optocomp model/graybox/comp trainer/graybox"),
        (
            "train_graybox",
            ["demo-fuzz", "graybox/fuzz-rnl", "--published"],
            "data/demo-fuzz model/graybox/fuzz-rnl trainer/published-graybox",
        ),
        (
            "train_parametric",
            ["multidrive-f-fuzz", "lstm/96+tvcond"],
            "data/multidrive-f-fuzz model/lstm/96 model/with/tvcond trainer/tbptt",
        ),
        (
            "train_parametric",
            ["multidrive-f-fuzz", "lstm/96+tvcond", "--published"],
            "data/multidrive-f-fuzz model/lstm/96 model/with/tvcond trainer/published-tbptt-tvcond",
        ),
        (
            "train_parametric",
            ["marshall-jvm410h-od1", "graybox/dist-rnl-cond"],
            "data/marshall-jvm410h-od1 model/graybox/dist-rnl-cond trainer/graybox",
        ),
    ],
)
def test_what_is_trained(script, words, called, call, tmp_path):
    done, asked = call(script, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [
        f"-c cfg/{word}.yaml" if word.startswith(("data", "model/", "trainer")) else word for word in called.split()
    ]
    assert asked == [" ".join(["fit", *expected])]


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("train_blackbox", ["ibanez-ts9"], "it needs a device and a net"),
        (
            "train_blackbox",
            ["ibanez-ts0", "tcn/45-s"],
            "there is no cfg/data/ibanez-ts0.yaml; there are: ampeg-optocomp",
        ),
        ("train_blackbox", ["ibanez-ts9", "tcn/45"], "there is no cfg/model/tcn/45.yaml; there are: envelope-lstm/16"),
        ("train_blackbox", ["ibanez-ts9", "tcn/45-s+flim"], "there are: film fixed tfilm"),
        ("train_blackbox", ["ibanez-ts9", "graybox/comp"], "graybox/comp is a chain; train it with train_graybox.sh"),
        ("train_graybox", ["ibanez-ts9", "dist-rnl-cond"], "is steered by knobs; train it with train_parametric.sh"),
        ("train_parametric", ["ibanez-ts9", "tcn/45-s+film"], "names no controls; give a device with knobs"),
        ("train_parametric", ["demo-ts9", "tcn/45-s"], "tcn/45-s hears no knobs; add a conditioning (tcn/45-s+film)"),
        ("evaluate", [], "it needs a run"),
        ("evaluate", ["cfg"], "cfg is no run: there is no config.yaml in it"),
        ("wandb_sync", ["--now"], "there is no option --now"),
        ("slurm_train", [], "it needs the configs of a run"),
        ("slurm_train", ["-c", "cfg/trainer/smoke.yaml"], "it is no job of SLURM; call it by sbatch"),
    ],
)
def test_misuse_is_told_with_the_usage(script, words, message, call):
    done, asked = call(script, *words)
    assert (done.returncode, asked) == (2, [])
    assert f"{script}.sh: " in done.stderr
    assert message in done.stderr
    assert f"scripts/{script}.sh" in done.stderr


def test_runs_are_tested_and_rendered(call, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    done, asked = call("evaluate", "a", tmp_path / "b", "--", "--trainer.devices", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rest = "--trainer.devices 1"
    assert asked == [f"{task} -c {tmp_path}/{run}/config.yaml {rest}" for run in "ab" for task in ("test", "predict")]


def test_offline_runs_that_are_not_sent_yet_are_sent(call, tmp_path):
    for name in ("logs/x/wandb/offline-run-1", "logs/y/wandb/offline-run-2", "logs/y/wandb/offline-run-fail"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.wandb").touch()
    (tmp_path / "logs/x/wandb/offline-run-1/run.wandb.synced").touch()
    waiting = [f"{tmp_path}/logs/y/wandb/offline-run-{n}" for n in ("2", "fail")]
    listed, asked = call("wandb_sync", "--dry-run", "logs", cwd=tmp_path)
    assert listed.stdout.splitlines() == ["2 offline runs to send", *waiting]
    assert asked == []
    done, asked = call("wandb_sync", "logs", cwd=tmp_path)
    assert done.returncode == 1
    assert asked == [f"sync {run}" for run in waiting]
    assert f"1 of 2 could not be sent: {waiting[1]}" in done.stderr
    nothing, _ = call("wandb_sync", "logs/x", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (0, "0 offline runs to send\n")
    missing, _ = call("wandb_sync", "none", cwd=tmp_path)
    assert (missing.returncode, "there is no folder" in missing.stderr) == (1, True)
