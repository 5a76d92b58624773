"""Written .nam files in the players of others: NAM's Core on Node, and its loader in Python."""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from nablafx.conditioning import FiLM
from nablafx.effects import GCN, LSTM, TCN
from nablafx.errors import UserError
from nablafx.export import nam
from nablafx.export.nam import core
from tests.effects.committed import NETS, build

from . import nam_documents
from .nam_models import CASES, LOADED, RATE, esr, expected, model_of, request_of, trained
from .players import NODE_MODULES, needs_node


@needs_node
@pytest.mark.parametrize("case", CASES)
def test_the_core_plays_the_model(case, tmp_path, monkeypatch):
    monkeypatch.setenv(core.VARIABLE, str(NODE_MODULES))
    model, path = model_of(trained(CASES[case])), tmp_path / "model.nam"
    request = request_of(model.effect)
    nam.write(model, path, request)
    ours, played = nam.check(model, path, request)
    assert ours.passed
    assert "NAM's Core" not in ours.runtime
    assert played.runtime.startswith("NAM's Core (@opendaw/nam-wasm 1.2.0, fast tanh) on Node v")
    assert played.esr < 1e-4


class Measured(torch.nn.Module):
    """A function by its values at equal distances from -12 to 12, and lines between them."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self.places, self.values = np.linspace(-12, 12, len(values)), values.astype("f8")

    def forward(self, x):
        return torch.from_numpy(np.interp(x.numpy(), self.places, self.values)).to(x.dtype)


@needs_node
@pytest.mark.parametrize("name", ["tcn", "gcn-direct"])
def test_with_the_cores_own_tanh_nothing_differs(name, tmp_path):
    """What is left between it and the model is its fast tanh: put that into our reader, and all is equal."""
    array = {"input_size": 1, "condition_size": 1, "channels": 1, "head_size": 1, "head_bias": False, "gated": False}
    array |= {"kernel_size": 1, "dilations": [1], "activation": "Tanh"}
    config = {"layers": [array], "head": None, "head_scale": 1.0}
    # rechannel, convolution, bias, mixin, layer1x1, bias, head, scale
    document = nam_documents.document("WaveNet", config, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0], version="0.5.4")
    (tmp_path / "tanh.nam").write_text(json.dumps(document))
    tanh, _ = core.play(tmp_path / "tanh.nam", np.linspace(-12, 12, 240_001), RATE, (4096,), NODE_MODULES)
    assert 1e-4 < np.abs(tanh - np.tanh(np.linspace(-12, 12, 240_001))).max() < 1e-3

    model, path = model_of(trained(CASES[name])), tmp_path / "model.nam"
    request = request_of(model.effect)
    nam.write(model, path, request)
    heard, _ = core.play(path, request.audio.flatten().numpy(), RATE, (64,), NODE_MODULES)
    net = nam.read_nam(path).effect
    for module in list(net.modules()):
        for key, child in module.named_children():
            if isinstance(child, torch.nn.Tanh):
                setattr(module, key, Measured(tanh))
    with torch.no_grad():
        ours = net(request.audio)[0].flatten().numpy()
    assert esr(heard, ours) < 1e-10 < esr(heard, expected(model, request))


def test_a_folder_without_the_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv(core.VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"NABLAFX_NODE_MODULES is .*, where there is no @opendaw/nam-wasm"):
        core.node_modules()


@needs_node
@pytest.mark.parametrize(
    ("content", "told"),
    [("no json", "it is refused|it cannot be loaded"), ('{"version": "0.9.0"}', "it is refused|it cannot be loaded")],
)
def test_what_the_core_refuses_is_told(content, told, tmp_path):
    path = tmp_path / "file.nam"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"NAM's Core cannot play .*: ({told})"):
        core.play(path, np.zeros(10), RATE, (10,), NODE_MODULES)


LOADER = """
import json, sys
import numpy as np, torch
from nam.models._from_nam import init_from_nam
folder = sys.argv[1]
x = torch.from_numpy(np.fromfile(f"{folder}/dry.f32", np.float32))
for name in sys.argv[2:]:
    content = json.load(open(f"{folder}/{name}.nam"))
    net = init_from_nam(content).eval()
    with torch.no_grad():
        # zeros before a convolutional net are silence; an LSTM begins in the state of its file
        y = net(x[None], pad_start=content["architecture"] != "LSTM")[0]
    y.numpy().astype(np.float32).tofile(f"{folder}/{name}.f32")
"""


@pytest.mark.slow
@pytest.mark.skipif(
    "NABLAFX_NAM_VENV" not in os.environ,
    reason="NABLAFX_NAM_VENV names no environment with neural-amp-modeler 0.13",
)
def test_nams_own_loader_in_python_plays_the_model(tmp_path):
    """ESR < 1e-10: its tanh is exact."""
    models = {name: model_of(trained(CASES[name])) for name in LOADED}
    models["tcn-250-l"] = model_of(trained(partial(TCN, num_blocks=11, kernel_size=7, dilation_growth=2)))
    models["gcn-250-l-film"] = model_of(
        trained(partial(GCN, 2, num_blocks=11, kernel_size=7, dilation_growth=2, conditioning=FiLM))
    )
    for name, model in models.items():
        nam.write(model, tmp_path / f"{name}.nam", request_of(model.effect, 2))
    audio = request_of(LSTM(), 2).audio
    audio.flatten().numpy().tofile(tmp_path / "dry.f32")
    python = Path(os.environ["NABLAFX_NAM_VENV"]) / "bin" / "python"
    words = [python, "-c", LOADER, tmp_path, *models]
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    for name, model in models.items():
        heard = np.fromfile(tmp_path / f"{name}.f32", np.float32)
        error = esr(heard, expected(model, request_of(model.effect, 2)))
        print(f"{name}: ESR {error:.1e}")
        assert error < 1e-10, name


@pytest.mark.slow
@needs_node
@pytest.mark.parametrize("net", [n for n in NETS if not n.startswith("s4")])
@pytest.mark.parametrize("overlay", [None, "film"])
def test_committed_configs_through_the_core(net, overlay, tmp_path, monkeypatch):
    monkeypatch.setenv(core.VARIABLE, str(NODE_MODULES))
    effect = trained(partial(build, net, overlay, num_controls=2 if overlay else 0))
    model, path = model_of(effect), tmp_path / "model.nam"
    request = request_of(effect, 2)
    nam.write(model, path, request)
    ours, played = nam.check(model, path, request)
    print(f"{net} {overlay}: {ours.esr:.1e} {ours.difference:.1e}, Core {played.esr:.1e} {played.difference:.1e}")
    assert ours.passed
    assert played.passed
