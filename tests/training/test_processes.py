"""Two processes train one model as one process with the joined batch would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.conftest import ROOT

from .pair import BATCH, CASES, DOUBLE, loss_and_slope, run

pytestmark = pytest.mark.xdist_group("processes")
TIMEOUT_S = 600
# in float64, relative to 1 or the largest weight. In float32, AdamW's first steps make a whole step of the rounding
# error of a gradient that is zero: there, what is logged is compared. In bfloat16 that is noisy, too
WEIGHTS = 1e-8
LOGGED = {"single": 1e-3, "bf16": 5e-2}


def launch(words: list[str], **environment: str) -> list[subprocess.Popen]:
    """Two processes, with the variables that Lightning knows them by."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    return [
        subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env={**os.environ, **place, "LOCAL_RANK": str(rank), **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pair(knobbed, tmp_path_factory) -> list[dict[str, Any]]:
    """What each of two processes says of the cases."""
    folder = tmp_path_factory.mktemp("pair")
    for process in launch(["-m", "tests.training.pair", str(knobbed.dry), str(knobbed.wet), str(folder), *CASES]):
        told, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, told
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone(knobbed, tmp_path_factory) -> dict[str, Any]:
    """What one process says of them, with the joined batch."""
    folder = tmp_path_factory.mktemp("alone")
    return {name: run(name, knobbed, folder, 2 * BATCH) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_weights_and_figures_are_those_of_one_process(pair, alone, name):
    first, second, want = pair[0][name], pair[1][name], alone[name]
    for key, value in want["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key]), key
        if CASES[name].trainer == DOUBLE:
            off = (first["weights"][key] - value).abs().max() / value.abs().max().clamp_min(1.0)
            assert float(off) < WEIGHTS, key
    assert first["rates"] == second["rates"] == want["rates"]
    assert first["logged"] == pytest.approx(second["logged"], rel=1e-6)
    known = {"loss/val/total"} if name == "bf16" else want["logged"]
    assert {key: first["logged"][key] for key in known} == pytest.approx(
        {key: want["logged"][key] for key in known}, rel=LOGGED.get(name, 1e-5)
    )


@pytest.mark.parametrize("name", CASES)
def test_each_step_hears_what_it_would_in_one_process(pair, alone, name):
    together = [sorted(a + b) for a, b in zip(*(part[name]["heard"] for part in pair), strict=True)]
    assert together == [sorted(names) for names in alone[name]["heard"]]


def test_data_are_checked_by_the_first_process_alone(pair):
    assert pair[0]["checks"] >= len(CASES)
    assert pair[1]["checks"] == 0


def test_joined_losses_and_their_mean_gradient_are_those_of_the_joined_batch(pair):
    """In float32, with the kernel of the STFT, of three items here and two there."""
    want = loss_and_slope()
    slope = want.pop("slope")
    for rank, part in enumerate(pair):
        got = dict(part["losses"])
        # DistributedDataParallel takes the mean of the processes' gradients
        torch.testing.assert_close(
            got.pop("slope") / 2, slope[rank::2], rtol=1e-4, atol=1e-4 * float(slope.abs().max())
        )
        assert got == pytest.approx(want, rel=1e-6)
