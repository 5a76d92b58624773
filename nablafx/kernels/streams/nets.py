"""The loops of streamed networks, compiled by numba: one item, features last, as many samples as a block has.

Features lie in rows of whole groups of LANES channels, the last of which are filled up with zeros, and weights as
(groups, ..., LANES). Groups travel as :mod:`nablafx.kernels.vectors`: sums stay in registers while the taps of a
convolution, or the units of an LSTM, pass by.

A ring (:mod:`nablafx.kernels.streams.signals`) is read in one piece wherever it begins.

Sums and audio are float32. The states of the state-space system are float64: the angle of a state grows with every
sample, and float32 would lose it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.envelopes.loops import FLOOR, ONE, SLOPE
from nablafx.kernels.vectors import LANES, LOOP, NOTHING, load, log, scaled, sigmoid, store, tanh, total, weighted

TANH, RELU, PRELU, RATIONAL = 1, 2, 3, 4


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
        start = load(bias[g])
        first = g * LANES
        t = 0
        while t + 4 <= length:
            y0 = y1 = y2 = y3 = start
            row = position - (taps - 1) * dilation
            for k in range(taps):
                s = (row if row >= 0 else row + period) + t
                for i in range(channels):
                    w = load(weight[g, k, i])
                    y0, y1 = scaled(source[s, i], w, y0), scaled(source[s + 1, i], w, y1)
                    y2, y3 = scaled(source[s + 2, i], w, y2), scaled(source[s + 3, i], w, y3)
                row += dilation
            store(out[t, first:], y0)
            store(out[t + 1, first:], y1)
            store(out[t + 2, first:], y2)
            store(out[t + 3, first:], y3)
            t += 4
        while t < length:
            y0 = start
            row = position - (taps - 1) * dilation
            for k in range(taps):
                s = (row if row >= 0 else row + period) + t
                for i in range(channels):
                    y0 = scaled(source[s, i], load(weight[g, k, i]), y0)
                row += dilation
            store(out[t, first:], y0)
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
            scale, shift = load(rows[n, 0, first:]), load(rows[n, 1, first:])
            for s in range(t, until):
                store(z[s, first:], weighted(load(z[s, first:]), scale, shift))
            t = until


@njit(**LOOP)
def add_residual(out, source, start, repeats, weight, length):
    """out[t, c] += weight[c] source[start + t, c // repeats]."""
    for t in range(length):
        if repeats == 1:
            for first in range(0, out.shape[1], LANES):
                passed = load(source[start + t, first:])
                store(out[t, first:], weighted(passed, load(weight[first:]), load(out[t, first:])))
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
        y = NOTHING
        for first in range(0, h.shape[1], LANES):
            y = weighted(load(h[t, first:]), load(weight[first:]), y)
        out[t] = total(y) + bias + added[t]


@njit(**LOOP)
def read_gain(h, weight, bias, x, out, length):
    """out[t] = a + g x[t], where a and g are the two values weight (2, W) h[t] + bias."""
    for t in range(length):
        a = g = NOTHING
        for first in range(0, h.shape[1], LANES):
            v = load(h[t, first:])
            a, g = weighted(v, load(weight[0, first:]), a), weighted(v, load(weight[1, first:]), g)
        out[t] = total(a) + bias[0] + (total(g) + bias[1]) * x[t, 0]


@njit(**LOOP)
def follow_levels(z, bands, poles, state, levels, length):
    """The features z (T, W) from number `bands` on become levels: see :mod:`nablafx.dsp.envelopes`.

    poles: (G, LANES) float64, of the bands anything; state: the same of envelopes, overwritten; levels: (T, LANES),
    scratch.
    """
    for g in range(len(poles)):
        first = g * LANES
        if first + LANES <= bands:
            continue
        e, p = state[g], poles[g]
        for t in range(length):
            for lane in range(LANES):
                u = abs(float(z[t, first + lane]))
                e[lane] = u + p[lane] * (e[lane] - u)
                levels[t, lane] = e[lane]
        values = levels.reshape(-1)[: length * LANES]
        for n in range(len(values)):
            values[n] = ONE + SLOPE * log(values[n] + FLOOR)
        for t in range(length):
            for lane in range(max(bands - first, 0), LANES):
                z[t, first + lane] = levels[t, lane]


@njit(**LOOP)
def run_ssm(u, system, direct, state, sums, out, length):
    """s <- z s + g u, out = 2 Re(Σ_n c s) + d u for every channel; state (G, N, 2, LANES) is overwritten.

    system: (G, N, 7, LANES) float64 of Re z, -Im z, Im z, Re g, Im g, 2 Re c, -2 Im c; direct: (G, LANES) float64 d;
    sums: (T, LANES) float64, scratch.
    """
    groups, states, _, _ = system.shape
    for g in range(groups):
        first = g * LANES
        passed = load(direct[g])
        for t in range(length):
            store(sums[t], weighted(passed, load(u[t, first:]), NOTHING))
        for n in range(states):
            rows = system[g, n]
            real, minus, imaginary = load(rows[0]), load(rows[1]), load(rows[2])
            gain_r, gain_i, out_r, out_i = load(rows[3]), load(rows[4]), load(rows[5]), load(rows[6])
            s, r = load(state[g, n, 0]), load(state[g, n, 1])
            for t in range(length):
                v = load(u[t, first:])
                s, r = (
                    weighted(real, s, weighted(minus, r, weighted(gain_r, v, NOTHING))),
                    weighted(real, r, weighted(imaginary, s, weighted(gain_i, v, NOTHING))),
                )
                store(sums[t], weighted(out_r, s, weighted(out_i, r, load(sums[t]))))
            store(state[g, n, 0], s)
            store(state[g, n, 1], r)
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
                a, b = load(rows[n, g, 0]), load(rows[n, g, 1])
                c, d = load(rows[n, g, 2]), load(rows[n, g, 3])
                for j in range(inputs):
                    v, w = source[s, j], w_in[g, j]
                    a, b = scaled(v, load(w[0]), a), scaled(v, load(w[1]), b)
                    c, d = scaled(v, load(w[2]), c), scaled(v, load(w[3]), d)
                for j in range(units):
                    v, w = hidden[s, j], w_rec[g, j]
                    a, b = scaled(v, load(w[0]), a), scaled(v, load(w[1]), b)
                    c, d = scaled(v, load(w[2]), c), scaled(v, load(w[3]), d)
                store(gates[g, 0], a)
                store(gates[g, 1], b)
                store(gates[g, 2], c)
                store(gates[g, 3], d)
            for g in range(groups):
                for lane in range(LANES):
                    kept = sigmoid(gates[g, 1, lane]) * cell[g, lane]
                    now = kept + sigmoid(gates[g, 0, lane]) * tanh(gates[g, 2, lane])
                    cell[g, lane] = now
                    hidden[s + 1, g * LANES + lane] = sigmoid(gates[g, 3, lane]) * tanh(now)
        t = until
