"""The loops of streamed networks, compiled by numba: one item, features last, as many samples as a block has.

Features lie in rows of whole groups of LANES channels, the last of which are filled up with zeros, and weights as
(groups, ..., LANES). A group travels as a tuple, which the compiler makes vector registers of: sums stay there while
the taps of a convolution, or the units of an LSTM, pass by.

A ring (:mod:`nablafx.kernels.streams.signals`) is read in one piece wherever it begins.

Sums and audio are float32. The states of the state-space system are float64: the angle of a state grows with every
sample, and float32 would lose it.

Everything that is compiled together lies in this file, see :mod:`nablafx.kernels.filters.loops`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit

LANES = 16
# products may be fused with sums, and nothing is reordered. A quotient that may raise an error would keep its loop from
# becoming one over vectors
INLINED: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
LOOP: dict[str, Any] = {**INLINED, "cache": True}
TANH, RELU, PRELU, RATIONAL = 1, 2, 3, 4
_NOTHING = (np.float32(0),) * LANES

numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]


@njit(**INLINED)
def _load(a):
    """The first sixteen numbers of an array."""
    return a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]


@njit(**INLINED)
def _store(a, v):
    """Write sixteen numbers into an array."""
    a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15] = v


@njit(**INLINED)
def _scaled(s, v, w):
    """s v + w for a number s."""
    low = s * v[0] + w[0], s * v[1] + w[1], s * v[2] + w[2], s * v[3] + w[3]
    mid = s * v[4] + w[4], s * v[5] + w[5], s * v[6] + w[6], s * v[7] + w[7]
    top = s * v[8] + w[8], s * v[9] + w[9], s * v[10] + w[10], s * v[11] + w[11]
    end = s * v[12] + w[12], s * v[13] + w[13], s * v[14] + w[14], s * v[15] + w[15]
    return low + mid + top + end


@njit(**INLINED)
def _added(u, v, w):
    """u v + w."""
    low = u[0] * v[0] + w[0], u[1] * v[1] + w[1], u[2] * v[2] + w[2], u[3] * v[3] + w[3]
    mid = u[4] * v[4] + w[4], u[5] * v[5] + w[5], u[6] * v[6] + w[6], u[7] * v[7] + w[7]
    top = u[8] * v[8] + w[8], u[9] * v[9] + w[9], u[10] * v[10] + w[10], u[11] * v[11] + w[11]
    end = u[12] * v[12] + w[12], u[13] * v[13] + w[13], u[14] * v[14] + w[14], u[15] * v[15] + w[15]
    return low + mid + top + end


@njit(**INLINED)
def _total(v):
    """The sum of sixteen numbers, by halves."""
    low = (v[0] + v[8]) + (v[4] + v[12]) + ((v[2] + v[10]) + (v[6] + v[14]))
    return low + ((v[1] + v[9]) + (v[5] + v[13]) + ((v[3] + v[11]) + (v[7] + v[15])))


# into the loops before LLVM sees it: compiled on its own, P and Q become a vector of two, and the loop none of many
@njit(**INLINED, inline="always")
def tanh(x):
    """x P(x²) / Q(x²) of degrees 4 / 4, the minimax fit of tanh on [-8, 8], and the ends beyond: within 3e-7.

    The function of the C library is called number by number; this one is a few products and a quotient of vectors.
    """
    x = min(max(x, np.float32(-8.0)), np.float32(8.0))
    t = x * x
    p = np.float32(1.5061718381538638e-08) * t + np.float32(2.1773179707636975e-05)
    p = (p * t + np.float32(3.5641520827380973e-03)) * t + np.float32(1.3438187721960324e-01)
    q = np.float32(8.4536244098126730e-07) * t + np.float32(3.3991728001449067e-04)
    q = (q * t + np.float32(2.6136000267922660e-02)) * t + np.float32(4.6771508496087744e-01)
    one = np.float32(1.0)
    return x * (p * t + one) / (q * t + one)


@njit(**INLINED, inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x)), by tanh."""
    return np.float32(0.5) * tanh(np.float32(0.5) * x) + np.float32(0.5)


@njit(**LOOP)
def bend(z, kind, table, length):
    """Apply an activation to features z (T, W) in place.

    table: float32, for PRELU (1, T W), the slopes of the channels over and over; for RATIONAL (2, 7), the numerator of
    degree 6 and the absolute denominator of degree 5 with its 1.
    """
    values = z.reshape(-1)[: length * z.shape[1]]
    if kind == TANH:
        for n in range(len(values)):
            values[n] = tanh(values[n])
    elif kind == RELU:
        for n in range(len(values)):
            values[n] = max(values[n], np.float32(0.0))
    elif kind == PRELU:
        slopes = table[0]
        for n in range(len(values)):
            values[n] = values[n] if values[n] > 0 else slopes[n] * values[n]
    elif kind == RATIONAL:
        a, b = table[0], table[1]
        a0, a1, a2, a3, a4, a5, a6 = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
        b1, b2, b3, b4, b5 = b[1], b[2], b[3], b[4], b[5]
        for n in range(len(values)):
            x = values[n]
            s = abs(x)
            p = (((((a6 * x + a5) * x + a4) * x + a3) * x + a2) * x + a1) * x + a0
            values[n] = p / (((((b5 * s + b4) * s + b3) * s + b2) * s + b1) * s + np.float32(1.0))


@njit(**LOOP)
def convolve(source, position, period, dilation, weight, bias, out, length):
    """out[t] = bias + Σ_k Σ_i weight[k, i] source[position + t - (K - 1 - k) dilation, i], rows of a ring.

    weight: (G, K, I, LANES); bias: (G, LANES); out: (T, G LANES). Four samples pass a weight together.
    """
    groups, taps, channels, _ = weight.shape
    for g in range(groups):
        start = _load(bias[g])
        first = g * LANES
        t = 0
        while t + 4 <= length:
            y0 = y1 = y2 = y3 = start
            row = position - (taps - 1) * dilation
            for k in range(taps):
                s = (row if row >= 0 else row + period) + t
                for i in range(channels):
                    w = _load(weight[g, k, i])
                    y0, y1 = _scaled(source[s, i], w, y0), _scaled(source[s + 1, i], w, y1)
                    y2, y3 = _scaled(source[s + 2, i], w, y2), _scaled(source[s + 3, i], w, y3)
                row += dilation
            _store(out[t, first:], y0)
            _store(out[t + 1, first:], y1)
            _store(out[t + 2, first:], y2)
            _store(out[t + 3, first:], y3)
            t += 4
        while t < length:
            y0 = start
            row = position - (taps - 1) * dilation
            for k in range(taps):
                s = (row if row >= 0 else row + period) + t
                for i in range(channels):
                    y0 = _scaled(source[s, i], _load(weight[g, k, i]), y0)
                row += dilation
            _store(out[t, first:], y0)
            t += 1


@njit(**LOOP)
def dense(source, weight, bias, kind, table, out, length):
    """out = act(W source + b): a convolution with one tap, weight (G, 1, I, LANES)."""
    convolve(source, 0, 1, 1, weight, bias, out, length)
    bend(out, kind, table, length)


@njit(**LOOP)
def modulate(z, rows, block, offset, length):
    """z <- γ z + β in place, rows (N, 2, W) of γ and β; sample t by row (t + offset) // block."""
    for first in range(0, z.shape[1], LANES):
        t = 0
        while t < length:
            n = (t + offset) // block
            until = min((n + 1) * block - offset, length)
            scale, shift = _load(rows[n, 0, first:]), _load(rows[n, 1, first:])
            for s in range(t, until):
                _store(z[s, first:], _added(_load(z[s, first:]), scale, shift))
            t = until


@njit(**LOOP)
def add_residual(out, source, start, repeats, weight, length):
    """out[t, c] += weight[c] source[start + t, c // repeats]."""
    for t in range(length):
        if repeats == 1:
            for first in range(0, out.shape[1], LANES):
                passed = _load(source[start + t, first:])
                _store(out[t, first:], _added(passed, _load(weight[first:]), _load(out[t, first:])))
        else:
            for c in range(out.shape[1]):
                out[t, c] += weight[c] * source[start + t, c // repeats]


@njit(**LOOP)
def finish(z, rows, block, offset, kind, table, source, start, repeats, weight, length):
    """act(γ z + β) + residual in place; a weight of no channels: none."""
    modulate(z, rows, block, offset, length)
    bend(z, kind, table, length)
    if len(weight):
        add_residual(z, source, start, repeats, weight, length)


@njit(**LOOP)
def gate(z, rows, block, offset, gated, length):
    """gated = tanh(first half) sigmoid(second half) of γ z + β."""
    modulate(z, rows, block, offset, length)
    width = gated.shape[1]
    for t in range(length):
        for c in range(width):
            gated[t, c] = tanh(z[t, c]) * sigmoid(z[t, width + c])


@njit(**LOOP)
def mix(h, weight, bias, added, out, length):
    """out[t] = Σ_c weight[c] h[t, c] + bias + added[t]."""
    for t in range(length):
        y = _NOTHING
        for first in range(0, h.shape[1], LANES):
            y = _added(_load(h[t, first:]), _load(weight[first:]), y)
        out[t] = _total(y) + bias + added[t]


@njit(**LOOP)
def run_ssm(u, system, direct, state, sums, out, length):
    """s <- z s + g u, out = 2 Re(Σ_n c s) + d u for every channel; state (G, N, 2, LANES) is overwritten.

    system: (G, N, 7, LANES) float64 of Re z, -Im z, Im z, Re g, Im g, 2 Re c, -2 Im c; direct: (G, LANES) float64 d;
    sums: (T, LANES) float64, scratch.
    """
    groups, states, _, _ = system.shape
    for g in range(groups):
        first = g * LANES
        passed = _load(direct[g])
        for t in range(length):
            _store(sums[t], _added(passed, _load(u[t, first:]), _NOTHING))
        for n in range(states):
            rows = system[g, n]
            real, minus, imaginary = _load(rows[0]), _load(rows[1]), _load(rows[2])
            gain_r, gain_i, out_r, out_i = _load(rows[3]), _load(rows[4]), _load(rows[5]), _load(rows[6])
            s, r = _load(state[g, n, 0]), _load(state[g, n, 1])
            for t in range(length):
                v = _load(u[t, first:])
                s, r = (
                    _added(real, s, _added(minus, r, _added(gain_r, v, _NOTHING))),
                    _added(real, r, _added(imaginary, s, _added(gain_i, v, _NOTHING))),
                )
                _store(sums[t], _added(out_r, s, _added(out_i, r, _load(sums[t]))))
            _store(state[g, n, 0], s)
            _store(state[g, n, 1], r)
        for t in range(length):
            for lane in range(LANES):
                out[t, first + lane] = sums[t, lane]


@njit(**LOOP)
def run_lstm(source, w_in, w_rec, rows, block, offset, cell, gates, hidden, length):
    """An LSTM layer: hidden[t + 1] from source[t] and hidden[t]; cell (G, LANES) is overwritten.

    Gates in the order input, forget, cell, output. w_in: (G, I, 4, LANES); w_rec: (G, H, 4, LANES); rows (N, G, 4,
    LANES) of biases, that of sample t being (t + offset) // block; gates: (G, 4, LANES), scratch.
    """
    groups, inputs, _, _ = w_in.shape
    units = w_rec.shape[1]
    t = 0
    while t < length:
        n = (t + offset) // block
        until = min((n + 1) * block - offset, length)
        for s in range(t, until):
            for g in range(groups):
                a, b = _load(rows[n, g, 0]), _load(rows[n, g, 1])
                c, d = _load(rows[n, g, 2]), _load(rows[n, g, 3])
                for j in range(inputs):
                    v, w = source[s, j], w_in[g, j]
                    a, b = _scaled(v, _load(w[0]), a), _scaled(v, _load(w[1]), b)
                    c, d = _scaled(v, _load(w[2]), c), _scaled(v, _load(w[3]), d)
                for j in range(units):
                    v, w = hidden[s, j], w_rec[g, j]
                    a, b = _scaled(v, _load(w[0]), a), _scaled(v, _load(w[1]), b)
                    c, d = _scaled(v, _load(w[2]), c), _scaled(v, _load(w[3]), d)
                _store(gates[g, 0], a)
                _store(gates[g, 1], b)
                _store(gates[g, 2], c)
                _store(gates[g, 3], d)
            for g in range(groups):
                for lane in range(LANES):
                    kept = sigmoid(gates[g, 1, lane]) * cell[g, lane]
                    now = kept + sigmoid(gates[g, 0, lane]) * tanh(gates[g, 2, lane])
                    cell[g, lane] = now
                    hidden[s + 1, g * LANES + lane] = sigmoid(gates[g, 3, lane]) * tanh(now)
        t = until
