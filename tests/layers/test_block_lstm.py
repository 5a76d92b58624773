"""Held values and the LSTM per block, against loops over samples and blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx.layers.block_lstm import BlockLSTM
from nablafx.layers.held import Held

from .oracle import Lstm, array, lstm_weights

BLOCK = 8


@pytest.mark.parametrize(("length", "offset"), [(1, 0), (8, 0), (20, 0), (1, 7), (9, 7), (20, 3)])
def test_held_is_the_value_of_the_sample_s_block(length, offset):
    torch.manual_seed(0)
    blocks = -(-(length + offset) // BLOCK)
    values, x = torch.randn(2, 6, blocks), torch.randn(2, 3, length)
    held = Held(values, BLOCK, offset)
    at_samples, modulated = torch.empty(2, 6, length), torch.empty(2, 3, length)
    for n in range(length):
        now = values[..., (n + offset) // BLOCK]
        at_samples[..., n] = now
        modulated[..., n] = now[:, :3] * x[..., n] + now[:, 3:]
    assert torch.equal(held.at_samples(length), at_samples)
    torch.testing.assert_close(held.modulate(x), modulated)


def test_held_for_ever():
    values, x = torch.randn(2, 6, 1), torch.randn(2, 3, 11)
    held = Held(values)
    assert torch.equal(held.at_samples(11), values.repeat(1, 1, 11))
    torch.testing.assert_close(held.modulate(x), values[:, :3] * x + values[:, 3:])


def by_loop(net: BlockLSTM, x: np.ndarray, controls: np.ndarray | None, before: np.ndarray) -> np.ndarray:
    """h at every sample of x (C, T), after features `before` (C,) held for ever: (hidden, T)."""

    def features(peaks):
        if not isinstance(net.squeeze, torch.nn.Identity):
            peaks = array(net.squeeze.weight)[..., 0] @ peaks + array(net.squeeze.bias)
        return peaks if controls is None else np.concatenate([peaks, controls])

    lstm = Lstm(lstm_weights(net.lstm))
    h = lstm.settle(features(before))
    values = []
    for start in range(0, x.shape[-1], BLOCK):
        block = x[:, start : start + BLOCK]
        after = lstm.step(features(block.max(-1)))
        values += [after if net.lookahead else h] * block.shape[-1]
        h = after
    return np.stack(values, axis=-1)


@pytest.mark.parametrize("lookahead", [True, False])
@pytest.mark.parametrize("controls", [0, 2])
@pytest.mark.parametrize("squeeze", [None, 4])
@pytest.mark.parametrize("length", [1, 8, 9, 43])
def test_equals_a_loop(lookahead, controls, squeeze, length):
    torch.manual_seed(0)
    net = BlockLSTM(3, 5, controls, BLOCK, lookahead, squeeze).double()
    x, before = torch.randn(2, 3, length, dtype=torch.float64), torch.randn(2, 3, 1, dtype=torch.float64)
    knobs = torch.rand(2, controls, dtype=torch.float64) if controls else None
    rested, state = net.rest(before, knobs)
    held, _ = net(x, knobs, state)
    for item in range(2):
        given = None if knobs is None else knobs[item].numpy()
        expected = by_loop(net, x[item].numpy(), given, before[item, :, 0].numpy())
        np.testing.assert_allclose(held.at_samples(length)[item].detach(), expected, rtol=0, atol=1e-10)
        if not lookahead:
            np.testing.assert_allclose(rested.at_samples(1)[item].detach(), expected[:, :1], rtol=0, atol=1e-10)


def test_zero_latency_goes_on_inside_a_block():
    """Sample by sample: the peak of a block is known once its last sample is, and not before."""
    torch.manual_seed(0)
    net = BlockLSTM(1, 5, 0, BLOCK, lookahead=False).double()
    x, before = torch.randn(1, 1, 30, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)
    expected = by_loop(net, x[0].numpy(), None, np.zeros(1))
    _, state = net.rest(before, None)
    for n in range(30):
        held, state = net(x[..., n : n + 1], None, state)
        np.testing.assert_allclose(held.at_samples(1)[0, :, 0].detach(), expected[:, n], rtol=0, atol=1e-10)
        assert state[0].shape[-1] == (n + 1) % BLOCK


def test_lookahead_cannot_go_on_inside_a_block():
    net = BlockLSTM(1, 5, 0, BLOCK)
    _, state = net.rest(torch.zeros(1, 1, 1), None)
    _, state = net(torch.randn(1, 1, BLOCK + 3), None, state)
    with pytest.raises(ValueError, match=r"ended 3 samples into a block of 8.*multiples of 8.*lookahead: false"):
        net(torch.randn(1, 1, BLOCK), None, state)


def test_a_block_has_a_sample():
    with pytest.raises(ValueError, match="block_size must be at least 1 sample, got 0"):
        BlockLSTM(1, 5, block_size=0)
