"""LSTMs with conditioning appended to their input, against the equations of every sample; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nablafx.conditioning import FiLM, FixedConditioning, TFiLM, TinyTFiLM, TVFiLM
from nablafx.effects import GCN, LSTM, S4, TCN, EnvelopeLSTM
from tests.layers.oracle import Lstm, array, lstm_weights

BLOCK = 16


def held(model: LSTM, x: np.ndarray, knobs: np.ndarray) -> np.ndarray:
    """max-pool(abs(input)) ⊕ controls -> LSTM, held over the block: (features, T)."""
    listener = Lstm(lstm_weights(model.conditioning.listener.lstm))
    last = listener.settle(np.concatenate([[0.0], knobs]))
    values = []
    for start in range(0, len(x), BLOCK):
        block = np.abs(x[start : start + BLOCK])
        own = listener.step(np.concatenate([[block.max()], knobs]))
        values += [own if model.frame_size > 1 else last] * len(block)
        last = own
    return np.stack(values, axis=-1)


def by_loop(model: LSTM, x: np.ndarray, extra: np.ndarray, extra_before: np.ndarray) -> np.ndarray:
    """y = tanh(w h + b + x), h = LSTM(x ⊕ extra), after silence."""
    lstm = Lstm(lstm_weights(model.lstm))
    lstm.settle(np.concatenate([[0.0], extra_before]))
    w, b = array(model.linear.weight)[0], array(model.linear.bias)[0]
    return np.array([np.tanh(w @ lstm.step(np.concatenate([[s], e])) + b + s) for s, e in zip(x, extra.T, strict=True)])


def make(recipe, controls: int = 2, layers: int = 1) -> tuple[LSTM, torch.Tensor, torch.Tensor, np.ndarray]:
    torch.manual_seed(0)
    model = LSTM(controls, hidden_size=6, num_layers=layers, conditioning=recipe).double()
    x, knobs = torch.randn(2, 1, 70, dtype=torch.float64), torch.rand(2, controls, dtype=torch.float64)
    return model, x, knobs, array(model(x, knobs if controls else None)[0])


@pytest.mark.parametrize("layers", [1, 2])
def test_unconditioned(layers):
    model, x, _, y = make(None, 0, layers)
    for item in range(2):
        expected = by_loop(model, x[item, 0].numpy(), np.zeros((0, 70)), np.zeros(0))
        np.testing.assert_allclose(y[item, 0], expected, rtol=0, atol=1e-10)


def test_fixed():
    model, x, knobs, y = make(FixedConditioning)
    assert model.lstm.input_size == 1 + 2
    for item in range(2):
        extra = np.tile(knobs[item].numpy()[:, None], 70)
        expected = by_loop(model, x[item, 0].numpy(), extra, extra[:, 0])
        np.testing.assert_allclose(y[item, 0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lookahead", [True, False])
@pytest.mark.parametrize("controls", [0, 2])
def test_tvcond(lookahead, controls):
    model, x, knobs, y = make(lambda n: TVFiLM(n, BLOCK, lookahead, num_features=5), controls)
    assert model.lstm.input_size == 1 + 5
    for item in range(2):
        given = knobs[item].numpy()
        extra = held(model, x[item, 0].numpy(), given)
        resting = Lstm(lstm_weights(model.conditioning.listener.lstm)).settle(np.concatenate([[0.0], given]))
        expected = by_loop(model, x[item, 0].numpy(), extra, resting)
        np.testing.assert_allclose(y[item, 0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", [FiLM, FixedConditioning])
def test_controls_alone_need_controls(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__} is steered by controls alone, and this data set has none"):
        kind(0)
    with pytest.raises(ValueError, match=r"name them \(data: \{controls: \[D, T\]\}\), or choose"):
        LSTM(0, conditioning=kind)


@pytest.mark.parametrize("effect", [TCN, GCN, S4])
def test_fixed_conditioning_cannot_modulate_layers(effect):
    with pytest.raises(ValueError, match=r"FixedConditioning appends .* cannot modulate layers; use FiLM, TFiLM"):
        effect(2, conditioning=FixedConditioning)


@pytest.mark.parametrize("effect", [LSTM, EnvelopeLSTM])
@pytest.mark.parametrize("kind", [TFiLM, TinyTFiLM])
@pytest.mark.parametrize("controls", [0, 2])
def test_conditioning_of_layers_cannot_be_appended(kind, controls, effect):
    told = f"{effect.__name__}: {kind.__name__} modulates layers and has nothing to append"
    message = rf"{told} .*; use FixedConditioning .* TVFiLM"
    with pytest.raises(ValueError, match=message):
        effect(controls, conditioning=kind)


@pytest.mark.parametrize("effect", [TCN, GCN, S4, LSTM, EnvelopeLSTM])
def test_every_conditioning_without_controls_hears_the_audio(effect):
    """TVFiLM needs no knobs, and none are asked for."""
    model = effect(0, conditioning=TVFiLM)
    assert model.num_controls == 0
    assert isinstance(model, nn.Module)
    x = torch.randn(1, 1, 300)
    assert not torch.equal(model(x)[0][..., 128:], model(x * (torch.arange(300) >= 128))[0][..., 128:])
