"""The layout of RTNeural and AIDA-X: what a player makes of it, sample by sample, and what it does not express."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from nablafx.conditioning import FiLM, FixedConditioning, TVFiLM
from nablafx.effects import GCN, S4, TCN
from nablafx.export import rtneural
from nablafx.export.formats import ExportError, load_format
from nablafx.export.model import Model

from .lstms import RATE, behind_silence, esr, expected, inputs_of, model_of, request_of

CASES = {
    "plain": {"residual": False},
    "residual": {},
    "two-layers": {"num_layers": 2, "hidden_size": 5},
    "knobs": {"num_controls": 2, "conditioning": FixedConditioning},
    "film": {"num_controls": 2, "conditioning": FiLM, "residual": False},
    "cold": {"cold_start": True},
}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def player(content: dict, inputs: np.ndarray) -> np.ndarray:
    """One sample after the other through all layers, as RTNeural does, with the gates i, f, c, o of Keras."""
    layers = [(layer, [np.array(w) for w in layer["weights"]]) for layer in content["layers"]]
    states = [[np.zeros(layer["shape"][-1])] * 2 for layer, _ in layers]
    out = np.zeros(len(inputs))
    for n, sample in enumerate(inputs):
        signal = sample
        for state, (layer, weights) in zip(states, layers, strict=True):
            assert layer["activation"] == ""
            if layer["type"] == "dense":
                signal = signal @ weights[0] + weights[1]
                continue
            h, c = state
            size = len(h)
            z = signal @ weights[0] + h @ weights[1] + weights[2]
            c = sigmoid(z[size : 2 * size]) * c + sigmoid(z[:size]) * np.tanh(z[2 * size : 3 * size])
            h = sigmoid(z[3 * size :]) * np.tanh(c)
            state[:], signal = [h, c], h
        out[n] = signal[0] + (sample[0] if content["in_skip"] else 0)
    return out


def written(model, request, tmp_path) -> dict:
    rtneural.write(model, tmp_path / "model.json", request)
    return json.loads((tmp_path / "model.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_a_player_plays_the_model(case, tmp_path):
    model = model_of(**CASES[case])
    request = request_of(model)
    content = written(model, request, tmp_path)
    inputs = inputs_of(request, knobs=case == "knobs")
    assert content["in_shape"] == [None, None, inputs.shape[1]]
    heard = player(content, inputs if case == "cold" else behind_silence(inputs))[-len(inputs) :]
    assert esr(heard, expected(model, request)) < 1e-10
    (check,) = rtneural.check(model, tmp_path / "model.json", request)
    assert check.passed
    assert check.limit == 1e-10


def test_the_layout(tmp_path):
    model = model_of(num_controls=2, conditioning=FixedConditioning)
    content = written(model, request_of(model), tmp_path)
    lstm, dense = content["layers"]
    assert [np.shape(w) for w in lstm["weights"]] == [(3, 32), (8, 32), (32,)]
    assert [np.shape(w) for w in dense["weights"]] == [(8, 1), (1,)]
    assert (lstm["shape"], dense["shape"]) == ([None, None, 8], [None, None, 1])
    assert (content["in_skip"], content["in_gain"], content["out_gain"]) == (1, 0, 0)
    assert content["samplerate"] == RATE
    assert written(model_of(residual=False), request_of(model_of()), tmp_path)["in_skip"] == 0


def test_numbers_are_those_of_the_model_in_few_digits(tmp_path):
    model = model_of()
    content = written(model, request_of(model), tmp_path)
    weight = model.effect.linear.weight.detach().numpy()[0]
    assert np.array_equal(np.float32(content["layers"][1]["weights"][0])[:, 0], weight)
    assert len(str(content["layers"][1]["weights"][0][0][0])) <= 14


def test_knobs_of_a_film_are_part_of_the_weights(tmp_path):
    model = model_of(**CASES["film"])
    request = request_of(model)
    other = request._replace(controls=1 - request.controls)
    content = written(model, other, tmp_path)
    inputs = inputs_of(request, knobs=False)
    heard = player(content, behind_silence(inputs))[-len(inputs) :]
    assert esr(heard, expected(model, other)) < 1e-10
    assert esr(heard, expected(model, request)) > 1e-8


def test_knobs_that_are_inputs_may_be_turned(tmp_path):
    model = model_of(**CASES["knobs"])
    request = request_of(model)
    content = written(model, request, tmp_path)
    inputs = inputs_of(request, knobs=True)
    inputs[:, 1:] = inputs[:, 2:0:-1]
    heard = player(content, behind_silence(inputs))[-len(inputs) :]
    assert esr(heard, expected(model, request._replace(controls=request.controls.flip(1)))) < 1e-10


def test_a_file_of_another_model_does_not_pass(tmp_path):
    model = model_of()
    request = request_of(model)
    content = written(model, request, tmp_path)
    content["layers"][0]["weights"][2][0] += 0.1
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert not rtneural.check(model, tmp_path / "model.json", request)[0].passed


def test_a_layer_that_is_not_read_is_told(tmp_path):
    model = model_of()
    content = written(model, request_of(model, 10), tmp_path)
    content["layers"][1]["activation"] = "tanh"
    with pytest.raises(ValueError, match="a layer dense with activation 'tanh' is not known here"):
        rtneural.play(content, np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "of a size that AIDA-X reads"),
        ({"num_layers": 2}, "which AIDA-X cannot read: it has 2 layers"),
        ({"hidden_size": 7}, "which AIDA-X cannot read: it has 7 cells"),
        ({"num_controls": 3, "conditioning": FixedConditioning}, "which AIDA-X cannot read: it has 4 inputs"),
    ],
)
def test_where_players_differ_it_is_said(arguments, told, tmp_path):
    model = model_of(**arguments)
    request = request_of(model, 10)
    written(model, request, tmp_path)
    (check,) = rtneural.check(model, tmp_path / "model.json", request)
    assert check.passed
    assert told in check.runtime


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            partial(model_of, output_activation="tanh"),
            "output_activation: tanh .*train it with output_activation: none",
        ),
        (partial(model_of, direct_path=True), "direct_path cannot be expressed .*--format nam or onnx can"),
        (partial(model_of, num_controls=2, conditioning=TVFiLM), "TVFiLM, which changes with the audio, .*onnx can"),
        (lambda: model_of()._replace(effect=TCN()), "TCN cannot be expressed .*--format nam or onnx can"),
        (lambda: model_of()._replace(effect=GCN()), "GCN cannot be expressed .*--format nam or onnx can"),
        (lambda: model_of()._replace(effect=S4()), "S4 cannot be expressed .*--format onnx can"),
    ],
)
def test_what_cannot_be_expressed_is_told(make, told, tmp_path):
    model: Model = make()
    with pytest.raises(ExportError, match=told):
        rtneural.write(model, tmp_path / "model.json", request_of(model, 10))
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_are_told(tmp_path):
    model = model_of()
    model.effect.linear.bias.data.fill_(float("nan"))
    with pytest.raises(ExportError, match="would not be finite"):
        rtneural.write(model, tmp_path / "model.json", request_of(model, 10))


def test_what_the_file_says_besides_weights(tmp_path):
    facts = {"author": "A. N.", "license": "MIT", "gear_make": "Ibanez", "gear_model": "TS9", "tone_type": "overdrive"}
    model = model_of()._replace(facts={**facts, "metrics": {"esr": 0.012345678}})
    told = written(model, request_of(model, 10), tmp_path)["metadata"]
    assert told == {
        "name": "Green drive",
        "samplerate": "48000",
        "style": "overdrive",
        "based": "Ibanez TS9",
        "author": "A. N.",
        "license": "MIT",
        "esr": "0.0123457",
    }
    model = model_of()
    assert set(written(model, request_of(model, 10), tmp_path)["metadata"]) == {"name", "samplerate"}


def test_it_is_the_format_of_the_table():
    assert load_format("rtneural") is rtneural
