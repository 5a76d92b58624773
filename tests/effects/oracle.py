"""The nets of the table of definitions in numpy: one item, unconditioned, after silence for ever."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter
from torch import nn

from nablafx.effects import GCN, S4, TCN, EnvelopeLSTM
from nablafx.layers.rational import Rational
from tests.dsp.oracle import continuous, recurrence
from tests.layers.oracle import Lstm, array, convolve, lstm_weights, sigmoid


def activation(module: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Of features (C, T)."""
    if isinstance(module, nn.PReLU):
        return lambda v: np.where(v > 0, v, array(module.weight)[:, None] * v)
    if isinstance(module, Rational):
        a, b = array(module.numerator), array(module.denominator)
        powers = range(1, len(b) + 1)
        return lambda v: (
            sum(c * v**k for k, c in enumerate(a)) / (1 + sum(abs(c * v**k) for c, k in zip(b, powers, strict=True)))
        )
    assert isinstance(module, nn.Tanh)
    return np.tanh


def pointwise(layer: nn.Module, v: np.ndarray) -> np.ndarray:
    return array(layer.weight)[..., 0] @ v + array(layer.bias)[:, None]


def convolution(block: nn.Module, h: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of h (C, T) after `held` (C,) for ever, and what it was before."""
    weight, bias = array(block.conv.weight), array(block.conv.bias)
    return convolve(weight, bias, h, held, block.conv.dilation[0]), weight.sum(-1) @ held + bias


def tcn(net: TCN, x: np.ndarray) -> np.ndarray:
    h, held = x[None], np.zeros(1)
    for block in net.blocks:
        act = activation(block.act)
        z, z_held = convolution(block, h, held)
        z, z_held = act(z), act(z_held[:, None])[:, 0]
        if block.residual is not None:
            # a grouped convolution: output o hears input o // (outputs / inputs)
            w = array(block.residual.weight)
            groups = len(w) // len(h)
            z, z_held = z + w * np.repeat(h, groups, 0), z_held + w[:, 0] * np.repeat(held, groups)
        h, held = z, z_held
    return pointwise(net.mix, h)[0]


def gcn(net: GCN, x: np.ndarray) -> np.ndarray:
    h, held, gated = x[None], np.zeros(1), []
    for block in net.blocks:
        z, z_held = convolution(block, h, held)
        half = len(z) // 2
        z, z_held = (np.tanh(v[:half]) * sigmoid(v[half:]) for v in (z, z_held))
        gated.append(z)
        mixed, mixed_held = pointwise(block.mix, z), pointwise(block.mix, z_held[:, None])[:, 0]
        if block.residual:
            groups = half // len(h)
            mixed, mixed_held = mixed + np.repeat(h, groups, 0), mixed_held + np.repeat(held, groups)
        h, held = mixed, mixed_held
    weights = np.concatenate([array(block.skip.weight)[0, :, 0] for block in net.blocks])
    return weights @ np.concatenate(gated) + net.bias.item()


def s4(net: S4, x: np.ndarray) -> np.ndarray:
    h, held = pointwise(net.expand, x[None]), pointwise(net.expand, np.zeros((1, 1)))
    for block in net.blocks:
        act_in, act_out = activation(block.act_in), activation(block.act_out)
        u, u_held = act_in(pointwise(block.linear, h)), act_in(pointwise(block.linear, held))
        system = continuous(block.ssm)
        # held for ever: s' = A s + u = 0
        state = -u_held / system.A
        z = recurrence(system, u[None], state[None])[0][0]
        z_held = (2 * (system.C * state).real.sum(-1) + system.D * u_held[:, 0])[:, None]
        z, z_held = act_out(z), act_out(z_held)
        if block.residual is not None:
            w = array(block.residual.weight)
            z, z_held = z + w * h, z_held + w * held
        h, held = z, z_held
    return pointwise(net.mix, h)[0]


def envelope_lstm(net: EnvelopeLSTM, x: np.ndarray) -> np.ndarray:
    weight, bias, taps = array(net.filters.weight), array(net.filters.bias), array(net.last.weight)[0, 0, ::-1]
    times_s = np.exp(array(net.envelopes.log_time_ms)) / 1000
    z, bands = convolve(weight, bias, x[None], np.zeros(1)), len(bias) - len(times_s)
    r = recurrence(continuous(net.resonators), np.repeat(x[None, None], len(net.resonators.D), 1))[0][0]
    followed = []
    for channel, held, time_s in zip(np.abs(z[bands:]), np.abs(bias[bands:]), times_s, strict=True):
        p = np.exp(-1 / (time_s * net.envelopes.sample_rate))
        followed.append(lfilter([1 - p], [1, -p], channel, zi=[p * held])[0])
    lstm, (w_a, w_g), (b_a, b_g) = Lstm(lstm_weights(net.lstm)), array(net.readout.weight), array(net.readout.bias)

    def heard(resonances: np.ndarray, band: np.ndarray, e: np.ndarray) -> np.ndarray:
        return np.concatenate([resonances, band, 1 + 2 / 3 * np.log10(e + 1e-3)])

    resting = w_a @ lstm.settle(heard(np.zeros(len(r)), bias[:bands], np.abs(bias[bands:]))) + b_a
    units = [lstm.step(heard(*all_three)) for all_three in zip(r.T, z[:bands].T, np.transpose(followed), strict=True)]
    y = np.array([w_a @ h + b_a + (w_g @ h + b_g) * s for h, s in zip(units, x, strict=True)])
    tone = continuous(net.tone)
    # held for ever: s' = A s + u = 0
    state = -resting / tone.A
    y, past = recurrence(tone, y[None, None], state[None])[0][0, 0], 2 * (tone.C * state).real.sum() + tone.D * resting
    return np.convolve(np.concatenate([np.full(len(taps) - 1, past.item()), y]), taps, "valid") + net.last.bias.item()
