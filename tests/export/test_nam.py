"""Writing .nam files: what they say is what the model does, on real audio, by three ways of playing them."""

from __future__ import annotations

import json
import math
import os
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nablafx.conditioning import FiLM, FixedConditioning, TFiLM, TVFiLM
from nablafx.effects import GCN, LSTM, S4, TCN, Effect
from nablafx.errors import UserError
from nablafx.export import nam
from nablafx.export.formats import ExportError, Request, load_format
from nablafx.export.model import Model
from nablafx.export.nam import core
from nablafx.export.nam.encode import encode
from nablafx.export.nam.metadata import loudness_input, measure
from nablafx.layers.running_norm import RunningNorm
from tests.conftest import ROOT
from tests.effects.committed import NETS, build, build_chain

from . import nam_documents
from .players import NODE_MODULES, needs_node

RATE = 48_000
KNOBS = torch.tensor([[0.3, 0.8]])
SMALL = {"num_blocks": 3, "kernel_size": 3, "channel_width": 4}
CASES = {
    "tcn": partial(TCN, **SMALL),
    "tcn-prelu": partial(TCN, act_type="prelu", **SMALL),
    "tcn-film": partial(TCN, 2, conditioning=FiLM, **SMALL),
    "tcn-film-prelu": partial(TCN, 2, conditioning=FiLM, act_type="prelu", output_activation="none", **SMALL),
    "tcn-direct": partial(TCN, direct_path=True, **SMALL),
    "tcn-growing": partial(TCN, num_blocks=3, channel_width=2, channel_growth=2),
    "tcn-narrow": partial(TCN, num_blocks=2, channel_width=1),
    "gcn": partial(GCN, **SMALL),
    "gcn-film": partial(GCN, 2, conditioning=FiLM, **SMALL),
    "gcn-direct": partial(GCN, direct_path=True, output_activation="tanh", **SMALL),
    "gcn-growing": partial(GCN, num_blocks=3, channel_width=2, channel_growth=2, direct_path=True),
    "lstm": partial(LSTM, hidden_size=8),
    "lstm-plain": partial(LSTM, hidden_size=8, num_layers=2, residual=False, output_activation="none"),
    "lstm-residual": partial(LSTM, hidden_size=8, output_activation="none"),
    "lstm-bent": partial(LSTM, hidden_size=8, residual=False),
    "lstm-direct": partial(LSTM, hidden_size=8, direct_path=True),
    "lstm-direct-only": partial(LSTM, hidden_size=8, direct_path=True, residual=False, output_activation="none"),
    "lstm-fixed": partial(LSTM, 2, hidden_size=8, conditioning=FixedConditioning),
    "lstm-film": partial(LSTM, 2, hidden_size=8, conditioning=FiLM, residual=False, output_activation="none"),
}
# NAM's loader in Python knows no slopes of PReLU, and no LSTM behind which something follows
LOADED = [n for n in CASES if "prelu" not in n and (not n.startswith("lstm") or n in ("lstm-plain", "lstm-film"))]


def trained(make) -> Effect:
    """As after training: what begins at a round number is no longer there."""
    torch.manual_seed(0)
    effect = make()
    for module in effect.modules():
        if isinstance(module, RunningNorm):
            module.mean.normal_(0, 0.3)
            module.var.uniform_(0.2, 2)
        if isinstance(module, torch.nn.PReLU):
            module.weight.data.uniform_(0, 0.6)
    if effect.direct_gain is not None:
        effect.direct_gain.data.fill_(0.7)
    return effect.eval()


def model_of(effect: Effect, **facts) -> Model:
    return Model(effect, RATE, ("D", "T")[: effect.num_controls], "Green drive", {}, facts)


def request_of(effect: Effect, seconds: float = 0.25, block_size: int | None = None) -> Request:
    # the file begins with silence
    path, frames = ROOT / "demo/DRY/test/t-eguitar.input.flac", round(seconds * RATE)
    audio, _ = soundfile.read(path, dtype="float32", start=RATE, frames=frames)
    return Request(KNOBS if effect.num_controls else None, block_size, torch.from_numpy(audio).view(1, 1, -1))


def expected(model: Model, request: Request) -> np.ndarray:
    with torch.no_grad():
        return model.effect(request.audio, request.controls)[0].flatten().numpy()


def esr(heard: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.square(heard.astype("f8") - wanted).sum() / np.square(wanted.astype("f8")).sum())


@pytest.fixture(params=CASES)
def case(request) -> str:
    return request.param


@pytest.fixture
def without_node(monkeypatch):
    monkeypatch.delenv(core.VARIABLE, raising=False)


def test_the_file_says_what_the_model_does(case, tmp_path):
    """By the arithmetic of the format, worked out apart from the package."""
    model, path = model_of(trained(CASES[case])), tmp_path / "model.nam"
    request = request_of(model.effect)
    nam.write(model, path, request)
    heard = nam_documents.after_silence(json.loads(path.read_text()), request.audio.flatten().double().numpy())
    assert esr(heard, expected(model, request)) < 1e-10


@pytest.mark.parametrize("case", ["tcn-film", "gcn", "lstm"])
def test_it_is_checked_in_blocks_with_our_reader(case, tmp_path, without_node):
    model, path = model_of(trained(CASES[case])), tmp_path / "model.nam"
    request = request_of(model.effect, seconds=0.1)
    nam.write(model, path, request)
    (check,) = nam.check(model, path, request)
    assert check.passed
    assert check.limit == 1e-10
    assert "blocks of 1, 7, 64 and 480; NAM's Core is not here to hear it" in check.runtime
    assert check.seconds == pytest.approx(0.1)


@needs_node
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


def test_a_request_of_one_block_size_is_checked_with_it(tmp_path, without_node):
    model, path = model_of(trained(CASES["tcn"])), tmp_path / "model.nam"
    request = request_of(model.effect, seconds=0.05, block_size=128)
    nam.write(model, path, request)
    assert "blocks of 128;" in nam.check(model, path, request)[0].runtime


def test_a_file_of_another_model_does_not_pass(tmp_path, without_node):
    model, path = model_of(trained(CASES["gcn"])), tmp_path / "model.nam"
    request = request_of(model.effect, seconds=0.05)
    nam.write(model, path, request)
    content = json.loads(path.read_text())
    content["weights"][3] += 0.1
    path.write_text(json.dumps(content))
    assert not nam.check(model, path, request)[0].passed


def test_knobs_are_those_of_the_request(tmp_path):
    model, path = model_of(trained(CASES["gcn-film"])), tmp_path / "model.nam"
    request = request_of(model.effect)
    nam.write(model, path, request._replace(controls=torch.tensor([[0.9, 0.1]])))
    heard = nam_documents.after_silence(json.loads(path.read_text()), request.audio.flatten().double().numpy())
    assert esr(heard, expected(model, request)) > 1e-4
    assert esr(heard, expected(model, request._replace(controls=torch.tensor([[0.9, 0.1]])))) < 1e-10


def test_what_was_measured_of_the_format():
    """Numbers in a file of GCN-250-L, and the shape in which it is written."""
    document = encode(GCN(num_blocks=11, kernel_size=7, dilation_growth=2), None)
    assert len(document.weights) == 43_325
    (array,) = document.config["layers"]
    assert array["gating_mode"] == ["gated"] * 11
    assert array["head1x1"] == {"active": True, "out_channels": 1, "groups": 1}
    assert array["dilations"] == [2**n for n in range(11)]


@pytest.mark.parametrize("gain", [0.0, -1e-12, 1e-30])
def test_a_residual_path_that_is_cut_in_a_channel(gain, tmp_path):
    """NAM's path has no gain, so ours is divided by: one of nothing is a special case."""
    effect = trained(partial(TCN, act_type="prelu", **SMALL))
    with torch.no_grad():
        for block in effect.blocks:
            block.residual.weight[1] = gain
    model, path = model_of(effect), tmp_path / "model.nam"
    request = request_of(effect)
    nam.write(model, path, request)
    heard = nam_documents.after_silence(json.loads(path.read_text()), request.audio.flatten().double().numpy())
    assert esr(heard, expected(model, request)) < 1e-10


def test_weights_beyond_32_bits_are_told(tmp_path):
    effect = TCN(num_blocks=11, kernel_size=2, dilation_growth=1)
    with torch.no_grad():
        for block in effect.blocks:
            block.residual.weight.fill_(1e-5)
    with pytest.raises(ExportError, match=r"would not be finite in 32 bits: .* --format onnx"):
        nam.write(model_of(effect), tmp_path / "model.nam", request_of(effect))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (partial(TCN, residual=False), "TCN with residual: false"),
        (partial(GCN, residual=False), "GCN with residual: false"),
        (partial(TCN, residual_delay=1), "TCN with residual_delay"),
        (partial(GCN, residual_delay=1), "GCN with residual_delay"),
        (partial(TCN, act_type="rational"), "TCN with a rational activation"),
        (partial(TCN, conditioning=TFiLM), "TCN with TFiLM, which changes with the audio,"),
        (partial(GCN, 2, conditioning=TVFiLM), "GCN with TVFiLM, which changes with the audio,"),
        (partial(LSTM, 2, conditioning=TVFiLM), "LSTM with TVFiLM, which changes with the audio,"),
        (S4, "S4"),
        (partial(build_chain, "comp"), "GrayBox"),
    ],
)
def test_what_cannot_be_expressed_is_told(make, told, tmp_path):
    effect = make()
    with pytest.raises(ExportError, match=rf"^{told} cannot be expressed in .nam.*; --format onnx can$"):
        nam.write(model_of(effect), tmp_path / "model.nam", request_of(effect))
    assert not list(tmp_path.iterdir())


def test_a_model_of_a_file_is_not_written_as_another(tmp_path):
    effect = trained(CASES["tcn"])
    nam.write(model_of(effect), tmp_path / "model.nam", request_of(effect))
    with pytest.raises(ExportError, match=r"comes from a .nam file, .*: copy that file"):
        nam.write(nam.read_nam(tmp_path / "model.nam"), tmp_path / "again.nam", request_of(effect))


@pytest.mark.parametrize("make", [TCN, GCN, LSTM])
def test_a_cold_start_is_told(make, tmp_path):
    effect = make(cold_start=True)
    with pytest.raises(
        ExportError, match=r"with cold_start cannot be expressed in .nam, .*; build it with cold_start: false"
    ):
        nam.write(model_of(effect), tmp_path / "model.nam", request_of(effect))


def test_it_is_the_format_of_the_table():
    assert load_format("nam") is nam


def test_what_the_file_says_besides_weights(tmp_path):
    facts = {
        "author": "A. N.",
        "gear_make": "Ibanez",
        "gear_model": "TS9",
        "gear_type": "pedal",
        "tone_type": "overdrive",
    }
    facts |= {
        "input_level_dbu": 12.0,
        "output_level_dbu": 11.5,
        "validation_esr": 0.0123,
        "metrics": {"esr": 0.2, "mae": 0.1},
        "license": "MIT",
    }
    effect, path = trained(CASES["lstm"]), tmp_path / "model.nam"
    model = model_of(effect, **facts)
    nam.write(model, path, request_of(effect))
    content = json.loads(path.read_text())
    assert (content["version"], content["sample_rate"]) == ("0.7.0", RATE)
    told = content["metadata"]
    assert set(told["date"]) == {"year", "month", "day", "hour", "minute", "second"}
    assert (told["name"], told["modeled_by"]) == ("Green drive", "A. N.")
    assert (told["gear_make"], told["gear_model"], told["gear_type"]) == ("Ibanez", "TS9", "pedal")
    assert (told["tone_type"], told["input_level_dbu"], told["output_level_dbu"]) == ("overdrive", 12.0, 11.5)
    assert told["training"] == {"data": {"latency": {"manual": 0}}, "validation_esr": 0.0123}
    assert content["config"]["condition_dsp"]["sample_rate"] == RATE
    again = nam.read_nam(path)
    assert again.facts == {k: v for k, v in facts.items() if k not in ("license", "metrics")}


def test_words_that_the_format_does_not_know_are_left_out(tmp_path):
    effect, path = trained(CASES["tcn"]), tmp_path / "model.nam"
    nam.write(model_of(effect, gear_type="wah", tone_type="sweet"), path, request_of(effect))
    assert not {"gear_type", "tone_type", "modeled_by", "input_level_dbu"} & set(
        json.loads(path.read_text())["metadata"]
    )


class Shaper(Effect):
    """y = f(x)."""

    def __init__(self, f) -> None:
        super().__init__()
        self.f = f

    def rest(self, x, controls):
        return x

    def process(self, x, controls, state):
        return self.f(x), state


def test_loudness_and_gain():
    """Of devices whose figures follow from the definition."""
    linear = measure(Shaper(lambda x: 0.5 * x), None, RATE)
    assert linear["loudness"] == pytest.approx(-15 + 20 * math.log10(0.5), abs=1e-4)
    assert linear["gain"] == pytest.approx(0, abs=1e-5)
    # a square wave has the same level whatever is played, but for silence: (10 - 5.5) / 5.5
    fuzz = measure(Shaper(torch.sign), None, RATE)
    assert fuzz["loudness"] == pytest.approx(0, abs=1e-4)
    assert fuzz["gain"] == pytest.approx(4.5 / 5.5, abs=1e-5)
    assert measure(Shaper(torch.zeros_like), None, RATE) == {}


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_the_noise_that_loudness_is_measured_with(rate):
    noise = loudness_input(rate).double().numpy()
    assert 20 * math.log10(np.sqrt(np.mean(noise**2))) == pytest.approx(-15, abs=1e-4)
    assert np.abs(noise).max() < 1
    power, frequencies = np.abs(np.fft.rfft(noise)) ** 2, np.fft.rfftfreq(rate, 1 / rate)
    octaves = [power[(frequencies >= f) & (frequencies < 2 * f)].sum() for f in (62.5, 250, 1000, 4000)]
    assert 10 * np.log10(max(octaves) / min(octaves)) < 0.2


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
