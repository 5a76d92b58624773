"""Writing .nam files: what they say is what the model does, on real audio, and what they cannot say is told."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch

from nablafx.conditioning import TFiLM, TVFiLM
from nablafx.effects import GCN, LSTM, S4, TCN
from nablafx.export import nam
from nablafx.export.formats import ExportError, load_format
from nablafx.export.nam import core
from nablafx.export.nam.encode import encode
from tests.effects.committed import build_chain

from . import nam_documents
from .nam_models import CASES, SMALL, esr, expected, model_of, request_of, trained


@pytest.fixture
def without_node(monkeypatch):
    monkeypatch.delenv(core.VARIABLE, raising=False)


@pytest.mark.parametrize("case", CASES)
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
