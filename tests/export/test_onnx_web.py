"""ONNX files in ONNX Runtime Web, by a host that reads nothing but the names, types and shapes of their inputs."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

from nablafx.export.formats import Request, load_format
from nablafx.export.model import Facts, Model
from tests.conftest import ROOT

from .streams import LARGEST, knobs, made, noise, sizes_for

SCRIPT = ROOT / "tests" / "node" / "onnx_stream.mjs"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
@pytest.mark.parametrize("name", ["GCN that does not", pytest.param("chain with knobs", marks=pytest.mark.slow)])
def test_a_browser_hears_the_effect(name, web_runtime, tmp_path):
    """Between them, their states have all types: floats of 32 and 64 bits, and integers."""
    effect, x = made(name), noise(2 * sum((1, 7, 64, 100)))
    controls, _ = knobs(effect)
    model = Model(effect, 48_000, ("D", "T")[: effect.num_controls], "demo", {}, Facts())
    load_format("onnx").write(model, tmp_path / "m.onnx", Request(controls, None, x))
    dry, wet = tmp_path / "dry.f32", tmp_path / "wet.f32"
    x.numpy().tofile(dry)
    given = json.dumps([] if controls is None else controls[0].tolist())
    words = ["node", SCRIPT, web_runtime, tmp_path / "m.onnx", dry, wet, given, *sizes_for(effect)]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found, expected = np.fromfile(wet, np.float32), effect(x, controls)[0].flatten().numpy()
    assert np.abs(found - expected).max() <= LARGEST * np.abs(expected).max()
