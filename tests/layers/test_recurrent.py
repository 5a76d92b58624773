"""Oracles: torch.nn.LSTM, the cell's equations in numpy, and long runs of both on a constant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx.layers import recurrent
from nablafx.layers.recurrent import Recurrent

from .oracle import Lstm, lstm_weights


def make(inputs: int = 2, hidden: int = 5, layers: int = 1, seed: int = 0, scale: float = 1.0) -> Recurrent:
    torch.manual_seed(seed)
    net = Recurrent(inputs, hidden, layers).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(scale)
    return net


def zeros(net: Recurrent, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    none = next(net.parameters()).new_zeros(batch, net.num_layers, net.hidden_size)
    return none, none


def plain_lstm(net: Recurrent) -> torch.nn.LSTM:
    lstm = torch.nn.LSTM(net.input_size, net.hidden_size, net.num_layers, batch_first=True).double()
    lstm.load_state_dict(net.state_dict())
    return lstm


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_equals_torch_from_zero(layers):
    net = make(layers=layers)
    x = torch.randn(3, 40, 2, dtype=torch.float64)
    y, (h, c) = net(x, zeros(net, 3))
    expected, (expected_h, expected_c) = plain_lstm(net)(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-15)
    assert h.shape == c.shape == (3, layers, 5)
    torch.testing.assert_close(h, expected_h.transpose(0, 1), rtol=0, atol=1e-15)
    torch.testing.assert_close(c, expected_c.transpose(0, 1), rtol=0, atol=1e-15)


def test_equals_the_equations():
    net = make(layers=2)
    x = torch.randn(2, 20, 2, dtype=torch.float64)
    y, _ = net(x, zeros(net, 2))
    for item in range(2):
        loop = Lstm(lstm_weights(net))
        expected = [loop.step(frame) for frame in x[item].numpy()]
        np.testing.assert_allclose(y[item].detach(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_rest_is_where_a_long_run_ends(layers, bias):
    """Also with forget gates near 0.95, from which nothing has settled after a hundred steps."""
    net = make(layers=layers)
    with torch.no_grad():
        for layer in range(layers):
            getattr(net, f"bias_ih_l{layer}")[5:10] += bias
    x = torch.randn(4, 2, dtype=torch.float64)
    out, (h, c) = net.rest(x)
    y, (long_h, long_c) = net(x.unsqueeze(1).expand(-1, 3000, -1), zeros(net, 4))
    assert (y[:, 100] - y[:, -1]).abs().max() > (1e-4 if bias else 0)
    torch.testing.assert_close(out, y[:, -1], rtol=0, atol=1e-10)
    torch.testing.assert_close(h, long_h, rtol=0, atol=1e-10)
    torch.testing.assert_close(c, long_c, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layers", [1, 2])
def test_gradient_of_rest_is_that_of_a_long_run(layers):
    """The implicit function theorem against back-propagation through 3000 steps."""
    net = make(layers=layers)
    with torch.no_grad():
        net.bias_ih_l0[5:10] += 2.0
    x = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    wanted = [x, *net.parameters()]
    torch.manual_seed(1)
    by_out, by_h, by_c = torch.randn(2, 5), torch.randn(2, layers, 5), torch.randn(2, layers, 5)

    def gradients(out, h, c):
        return torch.autograd.grad((by_out * out).sum() + (by_h * h).sum() + (by_c * c).sum(), wanted)

    out, state = net.rest(x)
    y, long_state = net(x.unsqueeze(1).expand(-1, 3000, -1), zeros(net, 2))
    for found, expected in zip(gradients(out, *state), gradients(y[:, -1], *long_state), strict=True):
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("length", [1, 16, 17, 50])
def test_long_sequences_run_in_pieces(monkeypatch, length):
    """As on CUDA, where cuDNN refuses very long ones: outputs, state and gradients."""
    net = make(layers=2)
    torch.manual_seed(1)
    x = torch.randn(2, length, 2, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(2, 2, 5, dtype=torch.float64) * 0.5 for _ in range(2))

    def run():
        y, (h, c) = net(x, state)
        return y, h, c, *torch.autograd.grad(y.sin().sum() + h.sum() + c.sum(), [x, *net.parameters()])

    whole = run()
    sizes = []
    forward = torch.nn.LSTM.forward
    monkeypatch.setattr(recurrent, "_MAX_STEPS", 16)
    monkeypatch.setattr(torch.nn.LSTM, "forward", lambda s, p, hx: sizes.append(p.shape[1]) or forward(s, p, hx))
    for pieces, once in zip(run(), whole, strict=True):
        torch.testing.assert_close(pieces, once, rtol=1e-12, atol=1e-12)
    assert sum(sizes) == length
    assert max(sizes) <= 16


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chaotic_net_has_a_rest_too(seed, dtype):
    """Weights times 6: no fixed point need attract, but the state is one, and its gradient is finite."""
    net = make(1, 16, 2, seed, scale=6.0).to(dtype)
    x = torch.zeros(1, 1, dtype=dtype, requires_grad=True)
    out, (h, c) = net.rest(x)
    for value in (out, h, c):
        assert value.isfinite().all()
    assert h.abs().max() <= 1.1
    gradients = torch.autograd.grad(out.sum() + h.sum() + c.tanh().sum(), [x, *net.parameters()])
    assert all(g.isfinite().all() for g in gradients)
    y, _ = net(torch.zeros(1, 500, 1, dtype=dtype), (h, c))
    assert y.isfinite().all()


def test_a_gate_that_never_forgets_has_a_finite_rest():
    net = make(1, 4)
    with torch.no_grad():
        net.bias_ih_l0[4:8] = 60.0
    out, (h, c) = net.rest(torch.ones(1, 1, dtype=torch.float64))
    assert out.isfinite().all()
    assert h.isfinite().all()
    assert c.isfinite().all()
