"""TCN, GCN, S4 and EnvelopeLSTM against their definitions in numpy, with every option that changes the net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nablafx.effects import GCN, LSTM, S4, TCN, EnvelopeLSTM

from . import oracle

NETS = {
    "tcn": (TCN, {"num_blocks": 3, "kernel_size": 3, "dilation_growth": 3, "channel_width": 4}),
    "gcn": (GCN, {"num_blocks": 3, "kernel_size": 3, "dilation_growth": 3, "channel_width": 4}),
    "s4": (S4, {"num_blocks": 2, "num_states": 3, "channel_width": 4}),
    "envelope_lstm": (
        EnvelopeLSTM,
        {"hidden_size": 5, "num_bands": 2, "num_envelopes": 3, "kernel_size": 4, "num_taps": 6},
    ),
}
OPTIONS = {
    "tcn": [
        {},
        {"num_blocks": 1},
        {"kernel_size": 1},
        {"num_blocks": 5, "stack_size": 2},
        {"residual": False},
        {"channel_growth": 2},
        {"channel_growth": 2, "residual": False},
        {"act_type": "prelu"},
        {"act_type": "rational"},
    ],
    "gcn": [
        {},
        {"num_blocks": 1},
        {"kernel_size": 1},
        {"num_blocks": 5, "stack_size": 2},
        {"residual": False},
        {"channel_growth": 2},
        {"channel_growth": 2, "residual": False},
    ],
    "s4": [
        {},
        {"num_blocks": 1},
        {"num_states": 1},
        {"residual": False},
        {"act_type": "prelu"},
        {"act_type": "rational"},
    ],
    "envelope_lstm": [
        {},
        {"num_bands": 0},
        {"num_envelopes": 1},
        {"kernel_size": 1},
        {"fastest_ms": 0.02, "slowest_ms": 0.1},
        {"sample_rate": 8_000},
    ],
}
CASES = [(net, options) for net, all_of_it in OPTIONS.items() for options in all_of_it]


def make(net: str, **options) -> nn.Module:
    """Biases and all: what silence leaves behind must be heard in the first samples, and what begins unheard too."""
    cls, arguments = NETS[net]
    torch.manual_seed(0)
    model = cls(**{**arguments, **options}).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.uniform_(-0.5, 0.5)
            if name in ("last.weight", "tone.C"):
                p.normal_()
            if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.PReLU):
                p.uniform_(-1, 1)
    return model


def describe(case: tuple) -> str:
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


@pytest.mark.parametrize("case", CASES, ids=describe)
def test_equals_its_definition(case):
    kind, options = case
    model = make(kind, output_activation="none", **options)
    x = torch.randn(2, 1, 60, dtype=torch.float64)
    y, _ = model(x)
    for item in range(2):
        expected = getattr(oracle, kind)(model, x[item, 0].numpy())
        np.testing.assert_allclose(y[item, 0].detach(), expected, rtol=0, atol=1e-12)


def test_channel_growth_widens_block_by_block():
    model = make("tcn", channel_growth=2)
    assert [b.conv.out_channels for b in model.blocks] == [4, 8, 16]
    assert model.mix.in_channels == 16
    assert [b.mix.out_channels for b in make("gcn", channel_growth=2).blocks] == [4, 8, 16]


@pytest.mark.parametrize("cls", [TCN, GCN, S4, LSTM, EnvelopeLSTM])
def test_output_activation(cls):
    """TCN, S4 and LSTM end in tanh as published, the others in nothing; either can be had of all."""
    x = torch.randn(1, 1, 300) * 3
    outputs = []
    for options in ({}, {"output_activation": "none"}, {"output_activation": "tanh"}):
        torch.manual_seed(0)
        outputs.append(cls(**options)(x)[0])
    default, linear, bent = outputs
    assert not torch.allclose(linear, bent, atol=1e-4)
    assert torch.equal(bent, torch.tanh(linear))
    assert torch.equal(default, linear if cls in (GCN, EnvelopeLSTM) else bent)


@pytest.mark.parametrize("cls", [TCN, GCN, S4, LSTM])
def test_direct_path(cls):
    """A learned gain of the input before the output activation, tanh of it in the LSTM; at first it adds nothing."""
    x = torch.randn(1, 1, 300)
    torch.manual_seed(0)
    without, _ = cls(output_activation="none")(x)
    torch.manual_seed(0)
    model = cls(output_activation="none", direct_path=True)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in cls().parameters()) + 1
    torch.testing.assert_close(model(x)[0], without)
    with torch.no_grad():
        model.direct_gain.fill_(0.7)
    added = torch.tanh(0.7 * x) if cls is LSTM else 0.7 * x
    torch.testing.assert_close(model(x)[0], without + added, rtol=1e-5, atol=1e-6)
    model.output_activation = nn.Tanh()
    torch.testing.assert_close(model(x)[0], torch.tanh(without + added), rtol=1e-5, atol=1e-6)


def test_lstm_without_its_residual():
    x = torch.randn(1, 1, 100)
    outputs = []
    for residual in (True, False):
        torch.manual_seed(0)
        outputs.append(LSTM(residual=residual, output_activation="none")(x)[0])
    torch.testing.assert_close(outputs[0], outputs[1] + x)


@pytest.mark.parametrize("cls", [TCN, GCN, S4, LSTM, EnvelopeLSTM])
def test_unknown_output_activation_is_told(cls):
    with pytest.raises(ValueError, match="output_activation: got 'sigmoid', needs one of tanh, none"):
        cls(output_activation="sigmoid")


@pytest.mark.parametrize("cls", [TCN, S4])
def test_unknown_act_type_is_told(cls):
    with pytest.raises(ValueError, match="act_type: got 'relu', needs one of tanh, prelu, rational"):
        cls(act_type="relu")
