"""The command line in two processes, by each launcher: one run, one folder, one voice, and one end."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from nablafx.training.record import read_record

from .cli import config, data_words, nablafx
from .readback import read_history
from .test_scripts import venv  # noqa: F401  a fixture

pytestmark = pytest.mark.slow

TIMEOUT_S = 300
DDP = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SMALL = ["--model.effect", "TCN", "--model.effect.init_args.num_blocks", "2"]
FAULTS = """
import os, signal
import torch
from nablafx import processes
from nablafx.errors import UserError

class Fails(torch.nn.Module):
    def __init__(self, how: str, rank: int):
        super().__init__()
        self.how, self.rank, self.calls = how, rank, 0

    def forward(self, prediction, target):
        self.calls += 1
        loss = (prediction - target).square().mean()
        if self.calls == 3 and self.rank in (processes.rank(), -1):
            if self.how == "mistake":
                raise UserError("the file has vanished")
            if self.how == "bug":
                raise ZeroDivisionError("a bug")
            if self.how == "interrupt":
                raise KeyboardInterrupt
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            loss = loss * float("nan")
        return loss
"""


@pytest.fixture
def words(root, knobless, tmp_path):
    """Of a small fit, whose runs lie in tmp_path/logs."""
    data = [*data_words(knobless), "--data.batch_size", "1"]
    return [*config(root, "trainer/smoke"), *SMALL, *data, "--log_root", str(tmp_path / "logs")]


def call(root: Path, *command: object, **environment: str) -> tuple[int, str]:
    """Exit status and output of a Python with the package; all its processes are ended when its time is over."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=root, env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        told, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"it hangs: {process.communicate()[0]}") from None
    return process.returncode, told


def table(run: Path) -> dict[str, dict[str, str]]:
    return {row["file"]: row for row in csv.DictReader((run / "metrics.csv").open())}


def test_two_processes_fit_validate_test_predict_and_go_on_as_one(root, words, knobless, tmp_path):
    """Of the test's one file the second process gets none."""
    run = tmp_path / "logs/smoke/version_0"
    for command, more in (
        ("fit", []),
        ("fit", ["--ckpt_path", "last", "--trainer.max_epochs", "2"]),
        ("validate", ["--trainer.limit_val_batches", "1.0"]),
        ("test", []),
        ("predict", []),
    ):
        status, told = call(root, "-m", "nablafx", command, *words, *DDP, *more)
        assert status == 0, told
        assert told.count(f"in {run}") == (command != "validate"), told
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    together, dealt = read_history(run / "history.csv"), table(run)
    wet = {path.name: soundfile.read(path)[0] for path in (run / "predictions").iterdir()}
    assert wet.keys() == {f"{path.stem}.wav" for path in (Path(knobless.dry) / "test").iterdir()}
    for command in ("validate", "test"):
        assert nablafx(command, *words, "--trainer.limit_val_batches", "1.0").status == 0
    alone = read_history(run / "history.csv")
    for name in (name for name in alone if name.startswith(("metrics/val", "loss/val"))):
        assert alone[name][-1][1] == pytest.approx(together[name][-1][1], rel=1e-4), name
    for file, row in table(run).items():
        assert {k: float(v) for k, v in row.items() if k != "file" and v} == pytest.approx(
            {k: float(v) for k, v in dealt[file].items() if k != "file" and v}, rel=1e-4, nan_ok=True
        )


def test_processes_of_torchrun_share_a_folder(root, words, tmp_path):
    before = {"NABLAFX_RUN_FOLDER": str(tmp_path / "of another run")}
    status, told = call(root, *TORCHRUN, "-m", "nablafx", "fit", *words, *DDP, **before)
    assert status == 0, told
    assert told.count("The run is in") == told.count("Seed set to") == 1, told
    assert [path.name for path in (tmp_path / "logs/smoke").iterdir()] == ["version_0"]


@pytest.mark.parametrize("launcher", [[], TORCHRUN], ids=["lightning", "torchrun"])
@pytest.mark.parametrize(
    ("how", "rank", "message"),
    [
        ("mistake", 0, "nablafx fit: the file has vanished"),
        ("mistake", 1, "nablafx fit: the file has vanished"),
        ("mistake", -1, "nablafx fit: the file has vanished"),
        ("nan", 1, "nablafx fit: the training loss became NaN"),
        ("bug", 1, "ZeroDivisionError: a bug"),
        ("interrupt", 1, "another process of this run has ended"),
        ("killed", 1, "another process of this run has ended"),
    ],
)
def test_an_error_in_one_process_ends_all_with_one_message(root, words, tmp_path, launcher, how, rank, message):
    (tmp_path / "faults.py").write_text(FAULTS)
    terms = f"{{bad: {{loss: {{class_path: faults.Fails, init_args: {{how: {how}, rank: {rank}}}}}}}}}"
    loss = ["--model.loss", "WeightedSum", "--model.loss.init_args.terms", terms]
    path = f"{root}:{tmp_path}"
    allowed = {"PYTHONPATH": path, "NABLAFX_ALLOW": "faults"}
    status, told = call(root, *launcher, "-m", "nablafx", "fit", *words, *DDP, *loss, **allowed)
    assert status != 0
    assert told.count(message) == 1, told
    assert told.count("Traceback (most recent call last)") == (how == "bug") + bool(launcher), told


SRUN = """#!/usr/bin/env bash
# Starts one task on each of two nodes, which are this machine.
while [[ "$1" == --* ]]; do shift; done
for node in 0 1; do
  SLURM_PROCID=$node SLURM_NODEID=$node SLURM_LOCALID=0 "$@" &
  tasks+=($!)
done
status=0
for task in "${tasks[@]}"; do wait "$task" || status=$?; done
exit "$status"
"""


def test_a_job_of_slurm_trains_on_two_nodes_and_goes_on_when_it_is_back(root, words, tmp_path, venv):  # noqa: F811
    for place, text in (
        (tmp_path / "srun", SRUN),
        (venv / "bin" / "nablafx", f'#!/bin/sh\nexec {sys.executable} -m nablafx "$@"\n'),
    ):
        place.write_text(text)
        place.chmod(0o755)
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NAME": "nablafx", "SLURM_NODELIST": "127.0.0.1"}
    job |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_SUBMIT_DIR": str(root)}
    job |= {"NABLAFX_VENV": str(venv), "LOG_ROOT": str(tmp_path / "logs"), "PYTHONPATH": str(root)}
    job["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    copy = tmp_path / "slurm_script"  # as SLURM makes one
    copy.write_text((root / "scripts/slurm_train.sh").read_text())
    words = [*words[: words.index("--log_root")], "--trainer.accelerator", "cpu"]
    for restarts, epochs in ((0, 1), (1, 2)):
        shell = f"import os; os.execvp('bash', ['bash', {str(copy)!r}, *{words!r}, '--trainer.max_epochs', '{epochs}'])"
        status, told = call(root, "-c", shell, **job, SLURM_RESTART_COUNT=str(restarts))
        assert status == 0, told
        assert told.count("The run is in") == 1, told
    (run,) = (tmp_path / "logs" / f"slurm-{os.getpid()}" / "smoke").iterdir()
    assert read_record(run)["steps"] == 4


def test_data_that_cannot_be_used_are_told_of_once(root, words, tmp_path, knobless):
    bad = [*words, "--data.segment_length", "600"]
    for launcher in ([], TORCHRUN):
        status, told = call(root, *launcher, "-m", "nablafx", "fit", *bad, *DDP)
        assert status != 0
        assert told.count("nablafx fit: ") == 1, told
        assert not list((tmp_path / "logs").rglob("version_*"))
