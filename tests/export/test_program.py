"""torch.export programs, block after block. Oracle: the effect at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nablafx.export.formats import ExportError, Request, load_format
from nablafx.export.model import Facts, Model
from nablafx.export.program import NOTES, ProgramEngine
from tests.contract.cases import CASES

from .streams import LARGEST, MODELS, allowed, difference, knobs, made, noise, sizes_for

FORMAT = load_format("torch")


def written(effect, path: Path, block_size: int | None = None) -> tuple[Model, Request]:
    model = Model(effect, 48_000, ("D", "T")[: effect.num_controls], "demo", {}, Facts(author="Ada"))
    request = Request(knobs(effect)[0], block_size, noise(700))
    FORMAT.write(model, path, request)
    return model, request


FEW = {"LSTM that is steered", "GCN that does not", "chain with knobs"}


@pytest.mark.parametrize("name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def test_a_program_for_any_block_sounds_as_its_effect(name, tmp_path):
    effect = made(name)
    written(effect, tmp_path / "m.pt2")
    assert difference(effect, ProgramEngine(tmp_path / "m.pt2"), sizes_for(effect)) <= LARGEST


@pytest.mark.parametrize("name", [n if n == "S4" else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def test_a_program_for_one_block_sounds_as_its_effect(name, tmp_path):
    effect = made(name)
    written(effect, tmp_path / "m.pt2", 80)
    assert difference(effect, ProgramEngine(tmp_path / "m.pt2"), [80]) <= LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [None, 64])
@pytest.mark.parametrize("name", CASES)
def test_every_case_sounds_as_its_effect(name, block_size, tmp_path):
    effect = CASES[name](dtype=torch.float32).eval()
    written(effect, tmp_path / "m.pt2", block_size)
    sizes = [block_size] if block_size else sizes_for(effect)
    assert difference(effect, ProgramEngine(tmp_path / "m.pt2"), sizes) <= allowed(name)


def test_the_check_of_the_format(tmp_path):
    effect = made("TCN with knobs")
    model, request = written(effect, tmp_path / "m.pt2", 50)
    (check,) = FORMAT.check(model, tmp_path / "m.pt2", request)
    assert check.passed
    assert check.difference < 1e-5
    extra = {NOTES: ""}
    torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    told = json.loads(extra[NOTES])
    assert (told["block_size"], told["control_names"], told["facts"]) == (50, ["D", "T"], {"author": "Ada"})
    with torch.no_grad():
        effect.mix.weight *= 1.001
    (check,) = FORMAT.check(model, tmp_path / "m.pt2", request)
    assert not check.passed


SCRIPT = """
import sys, torch
import nablafx.export.operators
program = torch.export.load(sys.argv[1])
(x, controls, state), _ = program.example_inputs
assert not any(s.any() for s in state.values())
outputs, module = [], program.module()
for piece in torch.load(sys.argv[2]).split([1, 70, 29], dim=-1):
    y, state = module(piece, controls, state)
    outputs.append(y)
torch.save(torch.cat(outputs, dim=-1), sys.argv[2])
"""


@pytest.mark.slow
def test_a_program_runs_as_its_file_says(tmp_path):
    """In a process of its own, with the package's operators and no model."""
    effect, x = made("GCN that does not"), noise(100)
    written(effect, tmp_path / "m.pt2")
    torch.save(x, tmp_path / "x.pt")
    words = [sys.executable, "-W", "error::FutureWarning", "-c", SCRIPT, tmp_path / "m.pt2", tmp_path / "x.pt"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(torch.load(tmp_path / "x.pt"), effect(x)[0], rtol=0, atol=1e-5)


def test_a_block_that_is_no_frame_is_refused(tmp_path):
    with pytest.raises(ExportError, match="frames of 16 samples, and a block of 24 is no multiple"):
        written(made("TCN that looks ahead"), tmp_path / "m.pt2", 24)
