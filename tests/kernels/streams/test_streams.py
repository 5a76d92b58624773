"""The loops of streams. Oracles: the same recurrences in numpy, float64, one sample after the other."""

from __future__ import annotations

import numpy as np
import pytest

from nablafx.kernels.streams import nets, signals
from nablafx.kernels.streams.nets import LANES

FOREVER = 2**62
CUTS = [1, 7, 3, 64, 4, 1, 50, 30]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def normal(rng, *shape):
    return (0.5 * rng.standard_normal(shape)).astype(np.float32)


def pieces(total: int):
    """Start and length of pieces of odd sizes."""
    start, n = 0, 0
    while start < total:
        yield start, min(CUTS[n % len(CUTS)], total - start)
        start, n = start + CUTS[n % len(CUTS)], n + 1


def close(found, expected, tolerance=2e-6):
    assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def test_tanh_and_sigmoid_are_within_3e_7():
    x = np.concatenate([np.linspace(-12, 12, 400_001), [0.0, 1e-30, -1e-8, 1e30, -np.inf, np.inf]]).astype(np.float32)
    y = x.copy().reshape(-1, 1)
    nets.bend(y, nets.TANH, np.zeros((1, 1), np.float32), len(y))
    exact = np.tanh(x.astype(np.float64))
    assert np.abs(y[:, 0] - exact).max() <= 3e-7
    # small signals keep their digits, and the curve is odd
    small = np.abs(x) < 1e-2
    np.testing.assert_allclose(y[small, 0], exact[small], rtol=3e-7)
    s = np.array([nets.sigmoid(v) for v in x[::2000]])
    assert np.abs(s - 0.5 * (1 + np.tanh(0.5 * x[::2000].astype(np.float64)))).max() <= 3e-7


@pytest.mark.parametrize(("kind", "table"), [("RELU", None), ("PRELU", "slopes"), ("RATIONAL", "rational")])
def test_other_activations(rng, kind, table):
    z = 4 * normal(rng, 9, 16)
    x = z[:8].astype(np.float64)
    slopes = normal(rng, 16)
    rational = np.zeros((2, 7), np.float32)
    rational[0, :5], rational[1, :4] = normal(rng, 5), [1, 0.5, 0.25, 0.125]
    expected = {
        "RELU": np.maximum(x, 0),
        "PRELU": np.where(x > 0, x, slopes * x),
        "RATIONAL": np.polyval(rational[0, 4::-1], x) / np.polyval(rational[1, 3::-1], np.abs(x)),
    }
    tables = {None: np.zeros((1, 1), np.float32), "slopes": np.tile(slopes, (1, 9)), "rational": rational}
    last = z[8].copy()
    nets.bend(z, getattr(nets, kind), tables[table], 8)
    close(z[:8], expected[kind])
    # what lies behind the samples that count is not touched
    np.testing.assert_array_equal(z[8], last)


@pytest.mark.parametrize(("channels", "taps", "dilation", "groups"), [(1, 7, 1, 1), (16, 3, 40, 1), (20, 13, 5, 2)])
def test_convolution_over_a_ring(rng, channels, taps, dilation, groups):
    size, total, reach = 64, 300, (taps - 1) * dilation
    x, weight, bias = (
        normal(rng, total, channels),
        normal(rng, groups, taps, channels, LANES),
        normal(rng, groups, LANES),
    )
    past = np.concatenate([np.zeros((reach, channels)), x])
    kernel = weight.transpose(1, 2, 0, 3).reshape(taps, channels, -1).astype(np.float64)
    expected = bias.reshape(-1) + sum(past[k * dilation : k * dilation + total] @ kernel[k] for k in range(taps))

    ring, position, out = (
        np.zeros((reach + 2 * size, channels), np.float32),
        0,
        np.zeros((size, groups * LANES), np.float32),
    )
    for start, length in pieces(total):
        after = signals.enter(ring, position, reach + size, x[start : start + length].copy(), length)
        nets.convolve(ring, position, reach + size, dilation, weight, bias, out, length)
        close(out[:length], expected[start : start + length])
        position = after


def test_modulation_and_residual(rng):
    z, rows = normal(rng, 40, 32), normal(rng, 5, 2, 32)
    source, weight = normal(rng, 60, 16), normal(rng, 32)
    held = np.repeat(rows.astype(np.float64), 10, axis=0)[3:43]
    expected = np.tanh(z * held[:, 0] + held[:, 1]) + weight * np.repeat(source[11:51], 2, axis=1)
    nets.finish(z, rows, 10, 3, nets.TANH, np.zeros((1, 1), np.float32), source, 11, 2, weight, 40)
    close(z, expected)


def test_gates_and_mix(rng):
    z, rows = 3 * normal(rng, 40, 64), normal(rng, 1, 2, 64)
    modulated = z * rows[0, 0].astype(np.float64) + rows[0, 1]
    expected = np.tanh(modulated[:, :32]) / (1 + np.exp(-modulated[:, 32:]))
    gated, weight, added, y = np.zeros((40, 32), np.float32), normal(rng, 32), normal(rng, 40), np.zeros(40, np.float32)
    nets.gate(z, rows, FOREVER, 0, gated, 40)
    nets.mix(gated, weight, np.float32(0.25), added, y, 40)
    close(gated, expected)
    close(y, expected @ weight + 0.25 + added)


def test_state_space(rng):
    states, total = 3, 200
    z, g, c = (rng.standard_normal((states, LANES)) + 1j * rng.standard_normal((states, LANES)) for _ in range(3))
    z *= 0.99 / np.abs(z)
    d, u = rng.standard_normal(LANES), normal(rng, total, LANES)
    s, expected = np.zeros((states, LANES), complex), []
    for sample in u:
        s = z * s + g * sample
        expected.append(2 * (c * s).sum(0).real + d * sample)
    system = np.stack([z.real, -z.imag, z.imag, g.real, g.imag, 2 * c.real, -2 * c.imag], axis=1)[None]
    state, sums, out = np.zeros((1, states, 2, LANES)), np.zeros((64, LANES)), np.zeros((64, LANES), np.float32)
    for start, length in pieces(total):
        nets.run_ssm(u[start : start + length], system, d[None], state, sums, out, length)
        close(out[:length], np.array(expected[start : start + length]), 1e-7)
    np.testing.assert_allclose(state[0, :, 0] + 1j * state[0, :, 1], s, rtol=1e-12)


def test_lstm(rng):
    units, inputs, total = 20, 3, 120
    groups = 2
    w_in, w_rec = normal(rng, groups, inputs, 4, LANES), normal(rng, groups, 2 * LANES, 4, LANES)
    # units that fill up the groups have no weights
    w_in[1, :, :, units - LANES :] = w_rec[1, :, :, units - LANES :] = w_rec[:, units:] = 0
    rows, x = normal(rng, 13, groups, 4, LANES), normal(rng, total, inputs)
    rows[:, 1, :, units - LANES :] = 0

    def flat(weight):
        """(G, I, 4, LANES) -> (I, 4, units)."""
        return weight.transpose(1, 2, 0, 3).reshape(weight.shape[1], 4, -1)[..., :units].astype(np.float64)

    h, c, expected = np.zeros(units), np.zeros(units), []
    for n, sample in enumerate(x):
        drive = np.tensordot(sample, flat(w_in), 1) + np.tensordot(h, flat(w_rec)[:units], 1)
        i, f, g, o = drive + flat(rows.swapaxes(0, 1).reshape(groups, 13, 4, LANES))[(n + 5) // 10]
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        expected.append(h)
    cell, gates = np.zeros((groups, LANES), np.float32), np.zeros((groups, 4, LANES), np.float32)
    hidden = np.zeros((total + 1, groups * LANES), np.float32)
    nets.run_lstm(x, w_in, w_rec, rows, 10, 5, cell, gates, hidden, total)
    close(hidden[1:, :units], np.array(expected), 5e-6)
    assert not hidden[:, units:].any()


@pytest.mark.parametrize("rectify", [False, True])
def test_pools_of_blocks(rng, rectify):
    block, total = 16, 155
    x = normal(rng, total, 16)
    heard = np.abs(x) if rectify else x
    expected = heard[: total // block * block].reshape(-1, block, 16).max(1)
    peak, filled, out, rows = np.zeros(16, np.float32), np.zeros(1, np.int64), np.zeros((9, 16), np.float32), []
    for start, length in pieces(total):
        made = signals.pool(x[start : start + length], block, rectify, peak, filled, out, length, 0)
        rows.extend(out[:made].copy())
    np.testing.assert_array_equal(rows, expected)
    assert filled[0] == total % block
    np.testing.assert_array_equal(peak, heard[total // block * block :].max(0))


@pytest.mark.parametrize("ends", [1, 2])
def test_the_last_block_of_a_stream_may_be_short(ends):
    x = -np.ones((20, 1), np.float32)
    out, filled = np.zeros((3, 1), np.float32), np.zeros(1, np.int64)
    assert signals.pool(x, 16, False, np.zeros(1, np.float32), filled, out, 20, ends) == 2
    np.testing.assert_array_equal(out[:2, 0], [-1, -1 if ends == 1 else 0])


@pytest.mark.parametrize("count", [2, 64, 131])
def test_taps(rng, count):
    size, total = 64, 400
    x, taps = normal(rng, total), normal(rng, count)
    expected = np.convolve(x.astype(np.float64), taps)[:total]
    taps = np.pad(taps, (0, -count % 4))
    period = len(taps) - 1 + size
    ring, position, y = np.zeros((period + size + 3, 1), np.float32), 0, np.zeros(size, np.float32)
    for start, length in pieces(total):
        after = signals.enter(ring, position, period, x[start : start + length, None].copy(), length)
        signals.convolve_taps(ring, position, period, taps, y, length)
        close(y[:length], expected[start : start + length], 5e-6)
        position = after


def test_values_that_hold_for_blocks(rng):
    x, other, a, b = normal(rng, 45), normal(rng, 45), normal(rng, 5), normal(rng, 5)
    scales, shifts = (np.repeat(v, 10)[5:] for v in (a, b))
    y, z = x.copy(), x.copy()
    signals.scale_and_shift(y, a, b, 10, 5, 45)
    signals.blend(z, other, a, b, 10, 5, 45)
    close(y, x * scales + shifts)
    close(z, x * scales + other * shifts)


def test_curves_in_pieces(rng):
    """Three cubics over [-2, 2], and their ends beyond."""
    pieces_, x = rng.standard_normal((3, 4)), np.array([-9, -2, -1.9, -0.5, 0.1, 1.0, 2.0, 2.5], np.float32)
    place = (np.clip(x.astype(np.float64) / 2, -1, 1) + 1) * 1.5
    piece = np.minimum(place.astype(int), 2)
    expected = [np.polyval(pieces_[n, ::-1], p - n) for n, p in zip(piece, place, strict=True)]
    signals.look_up(x, 2.0, pieces_, len(x))
    close(x, np.array(expected))


def test_no_number_looks_nothing_up():
    """A place that is none would be one outside of the table."""
    x = np.array([np.nan, 0.5], np.float32)
    signals.look_up(x, 1.0, np.ones((4, 4)), len(x))
    assert np.isnan(x[0])
    assert x[1] == 1


def test_levels_among_features(rng):
    bands, total, width = 18, 200, 48
    z, poles = normal(rng, total, width), rng.random((width // LANES, LANES))
    state = rng.random(poles.shape)
    p, e, expected = poles.reshape(-1), state.reshape(-1).copy(), []
    for sample in z.astype(np.float64):
        e = p * e + (1 - p) * np.abs(sample)
        expected.append(np.where(np.arange(width) < bands, sample, 1 + 2 / 3 * np.log10(e + 0.001)))
    scratch = np.zeros((64, LANES), np.float32)
    for start, length in pieces(total):
        nets.follow_levels(z[start : start + length], bands, poles, state, scratch, length)
    close(z, np.array(expected))
    np.testing.assert_allclose(state.reshape(-1)[bands:], e[bands:], rtol=1e-12)


def test_a_gain_that_is_read(rng):
    h, weight, bias, x, y = normal(rng, 40, 32), normal(rng, 2, 32), normal(rng, 2), normal(rng, 40, 1), normal(rng, 40)
    nets.read_gain(h, weight, bias, x, y, 40)
    a, g = (h.astype(np.float64) @ weight.T + bias).T
    close(y, a + g * x[:, 0])
