"""The layout of Proteus and NeuralPi: what a player makes of it, and what it does not express."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from nablafx.conditioning import FiLM, FixedConditioning
from nablafx.effects import TCN
from nablafx.export import proteus
from nablafx.export.formats import ExportError, load_format

from .lstms import behind_silence, esr, expected, inputs_of, model_of, request_of

proteus_model = partial(model_of, hidden_size=40)
CASES = {
    "plain": {},
    "knobs": {"num_controls": 2, "conditioning": FixedConditioning},
    "film": {"num_controls": 2, "conditioning": FiLM},
}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def player(content: dict, inputs: np.ndarray) -> np.ndarray:
    """As the plug-in: 160 gates i, f, g, o of 40 cells, both biases added up, and the input added to what comes out."""
    weights = {name: np.array(values) for name, values in content["state_dict"].items()}
    bias = weights["rec.bias_ih_l0"] + weights["rec.bias_hh_l0"]
    assert bias.shape == (160,)
    h, c, out = np.zeros(40), np.zeros(40), np.zeros(len(inputs))
    for n, sample in enumerate(inputs):
        i, f, g, o = (weights["rec.weight_ih_l0"] @ sample + weights["rec.weight_hh_l0"] @ h + bias).reshape(4, 40)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out[n] = weights["lin.weight"][0] @ h + weights["lin.bias"][0] + sample[0]
    return out


def written(model, request, tmp_path) -> dict:
    proteus.write(model, tmp_path / "model.json", request)
    return json.loads((tmp_path / "model.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_a_player_plays_the_model(case, tmp_path):
    model = proteus_model(**CASES[case])
    request = request_of(model)
    content = written(model, request, tmp_path)
    inputs = inputs_of(request, knobs=case == "knobs")
    assert content["model_data"]["input_size"] == inputs.shape[1]
    heard = player(content, behind_silence(inputs))[-len(inputs) :]
    assert esr(heard, expected(model, request)) < 1e-10
    (check,) = proteus.check(model, tmp_path / "model.json", request)
    assert check.passed
    assert check.limit == 1e-10


def test_the_layout(tmp_path):
    model = proteus_model()
    content = written(model, request_of(model, 10), tmp_path)
    assert content["model_data"] == {
        "model": "SimpleRNN",
        "input_size": 1,
        "skip": 1,
        "output_size": 1,
        "unit_type": "LSTM",
        "num_layers": 1,
        "hidden_size": 40,
        "bias_fl": True,
    }
    shapes = {name: np.shape(weights) for name, weights in content["state_dict"].items()}
    assert shapes == {
        "rec.weight_ih_l0": (160, 1),
        "rec.weight_hh_l0": (160, 40),
        "rec.bias_ih_l0": (160,),
        "rec.bias_hh_l0": (160,),
        "lin.weight": (1, 40),
        "lin.bias": (1,),
    }


def test_a_file_of_another_model_does_not_pass(tmp_path):
    model = proteus_model()
    request = request_of(model)
    content = written(model, request, tmp_path)
    content["state_dict"]["rec.bias_hh_l0"][150] += 0.1
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert not proteus.check(model, tmp_path / "model.json", request)[0].passed


@pytest.mark.parametrize(("rate", "told"), [(44_100, False), (48_000, True)])
def test_that_players_run_at_another_rate_is_said(rate, told, tmp_path):
    model = proteus_model(rate)
    request = request_of(model, 10)
    written(model, request, tmp_path)
    (check,) = proteus.check(model, tmp_path / "model.json", request)
    assert ("Proteus runs it at 44100 Hz, not at 48000" in check.runtime) is told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"hidden_size": 32}, "LSTM with 32 cells cannot be expressed .* need hidden_size: 40; train it so"),
        ({"num_layers": 2}, "LSTM with 2 layers cannot be expressed .* need num_layers: 1"),
        ({"residual": False}, "LSTM with residual: false cannot be expressed .* need residual: true"),
        ({"num_controls": 3, "conditioning": FixedConditioning}, "LSTM with 3 knobs cannot be expressed .* 2 at most"),
        ({"output_activation": "tanh"}, "output_activation: tanh .*train it with output_activation: none"),
    ],
)
def test_what_cannot_be_expressed_is_told(arguments, told, tmp_path):
    model = proteus_model(**arguments) if "hidden_size" not in arguments else model_of(**arguments)
    with pytest.raises(ExportError, match=told):
        proteus.write(model, tmp_path / "model.json", request_of(model, 10))
    assert not list(tmp_path.iterdir())


def test_another_net_is_told(tmp_path):
    model = model_of()._replace(effect=TCN())
    with pytest.raises(ExportError, match=r"TCN cannot be expressed in the Proteus layout.*--format nam or onnx can"):
        proteus.write(model, tmp_path / "model.json", request_of(model, 10))


def test_it_is_the_format_of_the_table():
    assert load_format("proteus") is proteus
