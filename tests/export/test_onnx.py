"""ONNX files in ONNX Runtime, block after block. Oracle: the effect at once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nablafx.effects import Effect, GrayBox, Stage
from nablafx.errors import UserError
from nablafx.export import Streamer
from nablafx.export.formats import ExportError, Request, load_format
from nablafx.export.model import Facts, Model
from nablafx.export.nam import NamLinear
from nablafx.export.onnx_engine import OnnxEngine, OnnxFileEngine
from nablafx.processors import DCOffset, Gain
from tests.conftest import ROOT
from tests.contract.cases import CASES
from tests.effects import committed

from .streams import LARGEST, MODELS, allowed, difference, knobs, made, noise, sizes_for, stream

FORMAT = load_format("onnx")
NAMES = ("D", "T", "B", "M")


def written(effect: Effect, path: Path, block_size: int | None = None) -> tuple[Model, Request]:
    model = Model(effect, 44_100, NAMES[: effect.num_controls], "demo", {}, Facts(author="Ada"))
    request = Request(knobs(effect)[0], block_size, noise(700))
    FORMAT.write(model, path, request)
    return model, request


def assert_close(effect: Effect, path: Path, block_size: int | None = None, largest: float = LARGEST) -> None:
    written(effect, path, block_size)
    sizes = [block_size] if block_size else sizes_for(effect)
    assert difference(effect, OnnxFileEngine(path), sizes) <= largest


# between them, every form and operator
FEW = {
    *("LSTM", "TCN that looks ahead", "GCN that does not", "cold S4 that is steered"),
    *("static chain", "chain with knobs", "chain that is steered"),
}


@pytest.mark.parametrize("name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def test_a_file_for_any_block_sounds_as_its_effect(name, tmp_path):
    assert_close(made(name), tmp_path / "m.onnx")


# one table, two tables of 64 and half of one; frames of 16
FIXED = {"S4": 64, "low-pass": 160}
MORE = {
    "static chain": 64,
    "chain with knobs": 48,
    "TCN that looks ahead": 32,
    "GCN that does not": 100,
    "LSTM": 5,
    "cold LSTM": 64,
    "TCN": 1,
}


@pytest.mark.parametrize(
    ("name", "block_size"), [*FIXED.items(), *(pytest.param(*item, marks=pytest.mark.slow) for item in MORE.items())]
)
def test_a_file_for_one_block_sounds_as_its_effect(name, block_size, tmp_path):
    assert_close(made(name), tmp_path / "m.onnx", block_size)


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [None, 64])
@pytest.mark.parametrize("name", CASES)
def test_every_case_sounds_as_its_effect(name, block_size, tmp_path):
    assert_close(CASES[name](dtype=torch.float32).eval(), tmp_path / "m.onnx", block_size, allowed(name))


def configured() -> dict[str, partial]:
    """Every committed config, and every net with every overlay that it takes."""
    found = {name: partial(committed.build_chain, name, 4 if "cond" in name else 0) for name in committed.CHAINS}
    for net in committed.NETS:
        for overlay in (None, *committed.OVERLAYS):
            found[f"{net}+{overlay}"] = partial(committed.build, net, overlay, 4 if overlay else 0)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("make", configured().values(), ids=configured().keys())
def test_every_config_sounds_as_its_effect(make, tmp_path):
    torch.manual_seed(0)
    try:
        effect = make().eval().requires_grad_(False)
    except ValueError as refusal:
        pytest.skip(str(refusal))
    assert_close(effect, tmp_path / "m.onnx", 128)


def test_an_impulse_response_of_a_nam_file(tmp_path):
    net = NamLinear({"receptive_field": 200, "bias": True})
    with torch.no_grad():
        net.response.copy_(noise(200).flatten())
        net.bias.fill_(0.1)
    assert_close(net.eval().requires_grad_(False), tmp_path / "m.onnx")


def test_small_numbers_stay(tmp_path):
    """Optimisers of graphs take 1e-9 for 0 and 1.000004 for 1."""
    gain_db = 20 * np.log10(1.000004)
    stages = {"offset": Stage(partial(DCOffset, offset=1e-9)), "gain": Stage(partial(Gain, gain_db=gain_db))}
    written(GrayBox(stages).eval(), tmp_path / "m.onnx")
    engine = OnnxFileEngine(tmp_path / "m.onnx")
    np.testing.assert_allclose(engine.run(np.array([0, 0.5], np.float32)), [1.000004e-9, 0.500002], rtol=1e-6)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> tuple[Effect, Path, Model, Request]:
    """A net with knobs, for blocks of 64."""
    effect, path = made("TCN with knobs"), tmp_path_factory.mktemp("onnx") / "m.onnx"
    return effect, path, *written(effect, path, 64)


def test_the_check_of_the_format(file):
    _, path, model, request = file
    (check,) = FORMAT.check(model, path, request)
    assert check.passed
    assert check.difference < 1e-5
    assert check.seconds == pytest.approx(640 / 44_100)
    assert "blocks of 64" in check.runtime
    assert "onnxruntime" in check.runtime


def test_a_file_that_sounds_otherwise_does_not_pass(file, tmp_path):
    _, path, model, request = file
    graph = onnx.load(path)
    weight = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith("mix.weight"))
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.001, weight.name))
    onnx.save(graph, tmp_path / "m.onnx")
    (check,) = FORMAT.check(model, tmp_path / "m.onnx", request)
    assert not check.passed
    assert check.esr == pytest.approx(1e-6, rel=1)


def test_what_the_file_says(file):
    graph = onnx.load(file[1])
    onnx.checker.check_model(graph, full_check=True)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.graph.input, *graph.graph.output)
    }
    # K = 7 with dilations 1 and 4: 6 and 24 samples before
    state = {"blocks.0.context": [1, 1, 6], "blocks.1.context": [1, 4, 24]}
    after = {f"next.{name}": shape for name, shape in state.items()}
    assert shapes == {"x": [1, 1, 64], "controls": [1, 2], **state, "y": [1, 1, 64], **after}
    told = {entry.key: json.loads(entry.value) for entry in graph.metadata_props}
    assert told.pop("usage").startswith("Each output next.NAME")
    assert told.pop("nablafx")
    assert told == {
        **{"name": "demo", "sample_rate": 44_100, "latency": 0, "frame_size": 1, "block_size": 64},
        **{"control_names": ["D", "T"], "controls": pytest.approx([0.2, 0.7]), "facts": {"author": "Ada"}},
    }


def test_the_file_tells_nothing_of_the_machine(file):
    content = file[1].read_bytes()
    for told in (str(ROOT), "site-packages", ".py", "torch.ops"):
        assert told.encode() not in content


def test_other_knobs_at_the_start_settle_in_silence(file):
    effect, path, *_ = file
    _, turned = knobs(effect)
    engine, x = OnnxFileEngine(path), noise(640)
    engine.reset(turned)
    expected = effect(x, turned)[0].flatten().numpy()
    np.testing.assert_allclose(stream(engine, x.flatten().numpy(), [64]), expected, atol=1e-5)


def test_a_stream_looks_ahead_in_blocks_of_any_size(tmp_path):
    """Also the last frame of a stream, which is not whole."""
    effect = made("LSTM that is steered")
    written(effect, tmp_path / "m.onnx")
    streamer = Streamer(effect, engine=lambda _: OnnxFileEngine(tmp_path / "m.onnx"))  # type: ignore[arg-type]
    x = noise(333)
    found = [streamer.process(block.numpy()) for block in x.flatten().split([1, 7, 100, 64, 161])]
    found = np.concatenate([*found, streamer.flush()])[streamer.latency :]
    np.testing.assert_allclose(found, effect(x)[0].flatten().numpy(), atol=1e-6)


def test_an_engine_for_one_block_takes_others():
    """Pieces of a block are heard at once; a knob that is turned waits for the next block."""
    effect = made("LSTM with knobs")
    controls, turned = knobs(effect)
    engine, x = OnnxEngine(effect, 16), noise(320)
    engine.reset(controls)
    found = stream(engine, x.flatten().numpy()[:160], [1, 7, 16, 3, 40, 13])
    engine.turn(turned)
    found = np.concatenate([found, stream(engine, x.flatten().numpy()[160:], [5, 31])])
    first, state = effect(x[..., :160], controls)
    second, _ = effect(x[..., 160:], turned, state)
    np.testing.assert_allclose(found, torch.cat([first, second], dim=-1).flatten().numpy(), atol=1e-6)


def test_files_that_are_none_of_ours(tmp_path):
    with pytest.raises(UserError, match=r"none\.onnx: there is no such file"):
        OnnxFileEngine(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no protobuf")
    with pytest.raises(UserError, match=r"bad\.onnx is no ONNX file that ONNX Runtime can read"):
        OnnxFileEngine(tmp_path / "bad.onnx")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, "samples"]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Tanh", ["x"], ["y"])], "other", [x], [y])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"other\.onnx is an ONNX file, but of another make"):
        OnnxFileEngine(tmp_path / "other.onnx")


def test_a_block_that_is_no_frame_is_refused(tmp_path):
    with pytest.raises(ExportError, match="frames of 16 samples, and a block of 24 is no multiple"):
        written(made("TCN that looks ahead"), tmp_path / "m.onnx", 24)
