"""Oracles: scipy's FIR filters and the sum written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from nablafx.layers.causal_conv import CausalConv1d

from .oracle import array, convolve


def make(kernel_size: int = 3, dilation: int = 4, inputs: int = 2, outputs: int = 3) -> CausalConv1d:
    torch.manual_seed(0)
    return CausalConv1d(inputs, outputs, kernel_size, dilation).double()


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (2, 1), (3, 4), (7, 16)])
def test_equals_lfilter(kernel_size, dilation):
    """Newest tap first and zeros between, as scipy counts; from silence."""
    net = make(kernel_size, dilation)
    x = torch.randn(2, 2, 150, dtype=torch.float64)
    assert net.context_length == (kernel_size - 1) * dilation
    y, _ = net(x, x.new_zeros(2, 2, net.context_length))
    taps = np.zeros((3, 2, net.context_length + 1))
    taps[..., ::dilation] = array(net.weight)[..., ::-1]
    for item in range(2):
        for o in range(3):
            expected = sum(lfilter(taps[o, i], 1, x[item, i].numpy()) for i in range(2)) + net.bias[o].item()
            np.testing.assert_allclose(y[item, o].detach(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("length", [1, 5, 8, 30])
def test_context_is_what_came_before(length):
    """Inputs shorter than the context (8 samples) too."""
    net = make()
    x = torch.randn(1, 2, 8 + length, dtype=torch.float64)
    y, context = net(x[..., 8:], x[..., :8])
    expected = convolve(array(net.weight), array(net.bias), x[0].numpy(), np.zeros(2), 4)
    np.testing.assert_allclose(y[0].detach(), expected[:, 8:], rtol=0, atol=1e-13)
    assert torch.equal(context, x[..., -8:])


def test_rest_is_the_answer_to_a_long_constant():
    net = make()
    x = torch.randn(2, 2, 1, dtype=torch.float64)
    y, context = net.rest(x)
    long, after = net(x.expand(-1, -1, 50), x.new_zeros(2, 2, 8))
    torch.testing.assert_close(y, long[..., -1:], rtol=0, atol=1e-14)
    assert torch.equal(context, after)


def test_newest_tap_meets_newest_sample():
    net = make(3, 4, 1, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[[0.0, 0.0, 1.0]]]))
        net.bias.zero_()
    x = torch.randn(1, 1, 20, dtype=torch.float64)
    context = torch.randn(1, 1, 8, dtype=torch.float64)
    assert torch.equal(net(x, context)[0], x)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[[1.0, 0.0, 0.0]]]))
    assert torch.equal(net(x, context)[0], torch.cat([context, x], dim=-1)[..., :20])
