"""Residual, activations, running norm and the diagonal SSM: torch's own layers and the formulas as oracles."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from nablafx.layers.activation import make_activation, make_output_activation
from nablafx.layers.diagonal_ssm import DiagonalSSM
from nablafx.layers.mlp import MLP
from nablafx.layers.residual import ChannelScale
from nablafx.layers.running_norm import RunningNorm


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 16), (16, 16), (4, 4), (3, 6), (2, 8)])
def test_channel_scale_is_a_grouped_convolution(inputs, outputs):
    scale = ChannelScale(inputs, outputs)
    grouped = nn.Conv1d(inputs, outputs, 1, groups=inputs, bias=False)
    with torch.no_grad():
        grouped.weight.copy_(scale.weight.unsqueeze(-1))
    assert sum(p.numel() for p in scale.parameters()) == grouped.weight.numel()
    x, added = torch.randn(2, inputs, 30), torch.randn(2, outputs, 30)
    torch.testing.assert_close(scale(x, added), grouped(x) + added)


def test_channel_scale_needs_whole_multiples():
    with pytest.raises(ValueError, match=r"6 output channels are not a multiple of 4 input channels.*channel_growth"):
        ChannelScale(4, 6)


def test_activations_by_name():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 50)
    assert torch.equal(make_activation("tanh", 3)(x), torch.tanh(x))
    prelu = make_activation("prelu", 3)
    slopes = torch.tensor([0.1, -0.5, 2.0])
    with torch.no_grad():
        prelu.weight.copy_(slopes)
    torch.testing.assert_close(prelu(x), torch.where(x > 0, x, slopes[:, None] * x))
    rational = make_activation("rational", 3)
    assert sum(p.numel() for p in rational.parameters()) == 5 + 3  # degrees (4, 3)
    torch.testing.assert_close(rational(x), torch.tanh(x), rtol=0, atol=0.02)


def test_output_activations_by_name():
    x = torch.randn(2, 1, 50)
    assert torch.equal(make_output_activation("tanh")(x), torch.tanh(x))
    assert torch.equal(make_output_activation("none")(x), x)


def test_unknown_activations_are_told():
    with pytest.raises(ValueError, match="act_type: got 'relu', needs one of tanh, prelu, rational"):
        make_activation("relu", 3)
    with pytest.raises(ValueError, match="output_activation: got 'sigmoid', needs one of tanh, none"):
        make_output_activation("sigmoid")


def test_mlp_ends_in_an_activation_too():
    torch.manual_seed(0)
    net = MLP(3, 8, 4)
    (w1, b1, w2, b2), x = net.parameters(), torch.randn(20, 3)
    expected = ((x @ w1.T + b1).clamp_min(0) @ w2.T + b2).clamp_min(0)
    torch.testing.assert_close(net(x), expected)
    assert (net(x) == 0).any()


def heard(norm: RunningNorm, x: torch.Tensor, pieces: int = 1):
    state = norm.empty(x[..., :1])
    for piece in x.split(-(-x.shape[-1] // pieces), dim=-1):
        state = norm.gather(piece, state)
    return state


@pytest.mark.parametrize("pieces", [1, 3])
def test_running_norm_follows_batch_norm(pieces):
    """torch's running statistics at its momentum, faster in the first ten steps; var is biased here, unbiased there."""
    torch.manual_seed(0)
    norm, batch_norm = RunningNorm(3), nn.BatchNorm1d(3, affine=False)
    batch, length = 4, 50
    count = batch * length
    for step in range(15):
        x = torch.randn(batch, 3, length) * torch.tensor([0.1, 1.0, 5.0])[:, None] + step
        batch_norm.momentum = max(1 / (step + 1), 0.1)
        batch_norm(x)
        emptied = norm.absorb(heard(norm, x, pieces))
        assert all(not s.any() for s in emptied)
        torch.testing.assert_close(norm.mean, batch_norm.running_mean)
        torch.testing.assert_close(norm.var, batch_norm.running_var * (count - 1) / count, rtol=1e-4, atol=1e-5)
    x = torch.randn(2, 3, 20)
    reference = nn.BatchNorm1d(3, affine=False).eval()
    reference.running_mean.copy_(norm.mean)
    reference.running_var.copy_(norm.var)
    gain, bias = norm.affine()
    torch.testing.assert_close(gain * x + bias, reference(x))


def test_running_norm_is_the_identity_at_first():
    gain, bias = RunningNorm(2).affine()
    x = torch.randn(1, 2, 9)
    torch.testing.assert_close(gain * x + bias, nn.BatchNorm1d(2, affine=False).eval()(x))


def test_running_norm_gathers_in_training_alone():
    torch.manual_seed(0)
    norm = RunningNorm(2)
    norm.absorb(heard(norm, torch.randn(2, 2, 30)))
    before = copy.deepcopy(norm.state_dict())
    silent = heard(norm.eval(), torch.randn(2, 2, 30))
    assert all(not s.any() for s in silent)
    norm.absorb(silent)
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_diagonal_ssm_starts_as_defined():
    torch.manual_seed(0)
    net = DiagonalSSM(2000, 4)
    assert torch.equal(net.log_A_real, torch.full((2000, 4), math.log(0.5)))
    torch.testing.assert_close(net.A_imag, torch.tensor([0, 1, 2, 3]) * math.pi * torch.ones(2000, 1))
    low, high = math.log(1e-3), math.log(1e-1)
    assert low <= net.log_dt.min() < low + 0.05
    assert high - 0.05 < net.log_dt.max() <= high
    assert net.log_dt.mean().item() == pytest.approx((low + high) / 2, abs=0.1)
    # complex normal: variance one half in either part
    assert net.C.var().item() == pytest.approx(0.5, rel=0.1)
    assert net.D.var().item() == pytest.approx(1.0, rel=0.1)


def test_diagonal_ssm_rests_where_a_long_run_ends():
    torch.manual_seed(0)
    net = DiagonalSSM(3, 4).double()
    with torch.no_grad():
        net.log_dt.fill_(math.log(0.05))
    x = torch.randn(2, 3, 1, dtype=torch.float64)
    y, state = net.rest(x)
    long, after = net(x.expand(-1, -1, 2000), torch.zeros(2, 3, 4, 2, dtype=torch.float64))
    torch.testing.assert_close(y, long[..., -1:], rtol=0, atol=1e-10)
    torch.testing.assert_close(state, after, rtol=0, atol=1e-10)
    assert state.shape == (2, 3, 4, 2)
