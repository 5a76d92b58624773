"""The loops of the clipper, compiled by numba: see :mod:`nablafx.kernels.clipping.reference`; all is float64 inside.

A clipper without feedback is one over samples, which the compiler makes one over vectors; one that is fed back waits
for its last output, and runs LANES rows side by side. Their numbers lie in one array, field by field: of several arrays
the compiler would have to ask whether they overlap.

All that is compiled together lies in this file: numba looks at no other when it asks whether code that it kept is still
that of the source.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nablafx.kernels.vectors import INLINED, LOOP

LANES = 8
CHUNK = 512
SETTINGS = 9

# fields of the rows that run side by side: settings, states, what comes in and goes out at a sample, and sums
_LIMIT, _UPPER, _LOWER, _FED, _POLE, _RISE, _FALL, _KEPT, _PASSED = range(0, SETTINGS * LANES, LANES)
_V, _E, _C, _X, _Y, _A, _E_BEFORE, _C_BEFORE, _GRAD, _SUMS = range(9 * LANES, 19 * LANES, LANES)
_BY_LIMIT, _BY_UPPER, _BY_LOWER, _BY_FED, _BY_POLE, _BY_RISE, _BY_FALL, _BY_KEPT, _BY_PASSED = range(
    _SUMS, _SUMS + SETTINGS * LANES, LANES
)
_FIELDS = _SUMS + SETTINGS * LANES
_INTO: dict = {**INLINED, "inline": "always"}


@njit(**_INTO)
def _ratio(r):
    """h(r) = artanh(r) / r within 1e-15 of itself, and h'(r).

    artanh r = log(q) / 2 with q = (1 + r) / (1 - r) = 2^n m, m in [√½, √2): the logarithm of the C library would keep
    its loop from becoming one over vectors.
    """
    r = min(max(r, -1 + 1e-12), 1 - 1e-12)
    s = r * r
    s2, s4 = s * s, s * s * (s * s)
    small = (1 + s * (1 / 3)) + s2 * (1 / 5 + s * (1 / 7)) + s4 * ((1 / 9 + s * (1 / 11)) + s2 * (1 / 13))
    small_slope = r * ((2 / 3 + s * (4 / 5)) + s2 * (6 / 7 + s * (8 / 9)) + s4 * (10 / 11 + s * (12 / 13)))
    within = 1 / ((1 - r) * (1 + r))
    q = (1 + r) * (1 + r) * within
    bits = np.float64(q).view(np.int64)
    n = (bits - 0x3FE6A09E667F3BCD) >> 52
    m = np.int64(bits - (n << 52)).view(np.float64)
    u = (m - 1) / (m + 1)
    p = u * u
    p2, p4 = p * p, p * p * (p * p)
    far = (1 / 11 + p * (1 / 13)) + p2 * (1 / 15 + p * (1 / 17)) + p4 * (1 / 19)
    series = (1 / 3 + p * (1 / 5)) + p2 * (1 / 7 + p * (1 / 9)) + p4 * far
    inverse = 1 / r
    large = (0.34657359027997264 * n + (u + u * p * series)) * inverse
    is_small = s < 0.01
    return small if is_small else large, small_slope if is_small else (within - large) * inverse


@njit(**_INTO)
def _mean(a, b, square):
    """Of √(t² + square) from a to b."""
    total = math.sqrt(a * a + square) + math.sqrt(b * b + square)
    inverse = 1 / total
    h, _ = _ratio((b - a) * inverse)
    return 0.25 * total + (0.25 * (a + b) * (a + b) + square * h) * inverse


@njit(**_INTO)
def _slopes(a, b, k):
    """Derivatives of the mean from a to b by a, b and k."""
    corner_a, corner_b = math.sqrt(a * a + k * k), math.sqrt(b * b + k * k)
    inverse, inverse_a, inverse_b = 1 / (corner_a + corner_b), 1 / corner_a, 1 / corner_b
    h, slope = _ratio((b - a) * inverse)
    by_sum, bent = 0.5 * (a + b) * inverse, k * k * inverse * inverse
    by_difference = bent * slope
    by_total = 0.25 - by_sum * by_sum - bent * h - by_difference * (b - a) * inverse
    by_a = by_total * a * inverse_a + by_sum - by_difference
    by_b = by_total * b * inverse_b + by_sum + by_difference
    return by_a, by_b, by_total * k * (inverse_a + inverse_b) + 2 * k * h * inverse


@njit(**_INTO)
def _clipped(a, b, limit, upper, lower):
    """Mean of f from a to b; upper and lower: the squares of both corners' widths."""
    return 0.5 * (_mean(a + limit, b + limit, lower) - _mean(a - 1, b - 1, upper) + 1 - limit)


@njit(**_INTO)
def _partials(a, b, limit, upper, lower):
    """Derivatives of the mean of f from a to b by a, b, n, k₁ and k₂; upper and lower are k₁ and k₂."""
    low_a, low_b, low_k = _slopes(a + limit, b + limit, limit * lower)
    high_a, high_b, high_k = _slopes(a - 1, b - 1, upper)
    by_limit = 0.5 * (low_a + low_b + lower * low_k - 1)
    return 0.5 * (low_a - high_a), 0.5 * (low_b - high_b), by_limit, -0.5 * high_k, 0.5 * limit * low_k


@njit(**LOOP)
def forward(x, before, settings, y, block, offset, first, last):
    """Rows first to last of x (R, T), before (R); settings (R or 1, N, 3)."""
    length = x.shape[1]
    for row in range(first, last):
        sets, heard, told = settings[row if len(settings) > 1 else 0], x[row], y[row]
        t = 0
        while t < length:
            n = (t + offset) // block
            until = min((n + 1) * block - offset, length)
            limit, upper, lower = sets[n, 0], sets[n, 1] ** 2, (sets[n, 0] * sets[n, 2]) ** 2
            if t == 0:
                told[0] = _clipped(float(before[row]), float(heard[0]), limit, upper, lower)
            for i in range(max(t, 1), until):
                told[i] = _clipped(float(heard[i - 1]), float(heard[i]), limit, upper, lower)
            t = until


@njit(**LOOP)
def backward(grad_y, x, before, settings, grad_x, grad_before, grads, block, offset, first, last):
    """Gradients of x, before and settings, the last of each row, (R, N, 3), zero before."""
    length = x.shape[1]
    argument, work = np.empty(CHUNK + 1), np.empty(5 * CHUNK)
    for row in range(first, last):
        sets = settings[row if len(settings) > 1 else 0]
        t, held, argument[0] = 0, 0.0, before[row]
        while t < length:
            n = (t + offset) // block
            count = min((n + 1) * block - offset, length, t + CHUNK) - t
            limit, upper, lower = sets[n, 0], sets[n, 1], sets[n, 2]
            for i in range(count):
                argument[i + 1] = x[row, t + i]
            for i in range(count):
                by = _partials(argument[i], argument[i + 1], limit, upper, lower)
                work[i], work[CHUNK + i], work[2 * CHUNK + i], work[3 * CHUNK + i], work[4 * CHUNK + i] = by
            for i in range(count):
                g = float(grad_y[row, t + i])
                if t + i:
                    grad_x[row, t + i - 1] = held + g * work[i]
                else:
                    grad_before[row] = g * work[i]
                held = g * work[CHUNK + i]
                for k in range(3):
                    grads[row, n, k] += g * work[(2 + k) * CHUNK + i]
            argument[0] = argument[count]
            t += count
        grad_x[row, length - 1] = held


@njit(**_INTO)
def _clipped_off(v, limit, upper, lower):
    """What f takes away above and adds below; upper and lower: the squares of both corners' widths."""
    above, below = v - 1, v + limit
    return 0.5 * (math.sqrt(above * above + upper) + above), 0.5 * (math.sqrt(below * below + lower) - below)


@njit(**LOOP)
def _prepare(w, settings, row, live, n):
    """Enter the settings n of rows `row` and following."""
    for j in range(live):
        s = settings[row + j if len(settings) > 1 else 0, n]
        for k in range(SETTINGS):
            w[k * LANES + j] = s[k]


@njit(**LOOP)
def _fed_step(w, live, antialias):
    """One sample of `live` rows: X -> Y, with V, E and C."""
    for j in range(live):
        limit, upper, lower = w[_LIMIT + j], w[_UPPER + j] * w[_UPPER + j], w[_LIMIT + j] * w[_LOWER + j]
        e, c = w[_E + j], w[_C + j]
        v = w[_X + j] - w[_FED + j] * e - c
        y = _clipped(w[_V + j] if antialias else v, v, limit, upper, lower * lower) + w[_PASSED + j] * c
        above, below = _clipped_off(v, limit, upper, lower * lower)
        w[_Y + j], w[_V + j], w[_E + j] = y, v, y + w[_POLE + j] * (e - y)
        w[_C + j] = w[_KEPT + j] * c + w[_RISE + j] * above - w[_FALL + j] * below


@njit(**LOOP)
def fed_forward(x, start, settings, y, kept, end, antialias, block, offset, first, last):
    """Groups first to last of LANES rows: x (R, T), start (R, 3), settings (R or 1, N, SETTINGS).

    kept (R, 2, T): e and c before each sample.
    """
    w = np.empty(_FIELDS)
    for row in range(first * LANES, min(last * LANES, len(x)), LANES):
        live = min(LANES, len(x) - row)
        for j in range(live):
            w[_V + j], w[_E + j], w[_C + j] = start[row + j, 0], start[row + j, 1], start[row + j, 2]
        t = 0
        while t < x.shape[1]:
            n = (t + offset) // block
            _prepare(w, settings, row, live, n)
            until = min((n + 1) * block - offset, x.shape[1])
            for i in range(t, until):
                for j in range(live):
                    w[_X + j], kept[row + j, 0, i], kept[row + j, 1, i] = x[row + j, i], w[_E + j], w[_C + j]
                _fed_step(w, live, antialias)
                for j in range(live):
                    y[row + j, i] = w[_Y + j]
            t = until
        for j in range(live):
            end[row + j, 0], end[row + j, 1], end[row + j, 2] = w[_V + j], w[_E + j], w[_C + j]


@njit(**LOOP)
def _fed_step_back(w, live, antialias):
    """One sample of `live` rows on the way back: GRAD of y -> GRAD of x, with those of V, E and C, and the sums."""
    for j in range(live):
        limit, upper, knee = w[_LIMIT + j], w[_UPPER + j], w[_LOWER + j]
        lower, fed, pole, rise, fall = limit * knee, w[_FED + j], w[_POLE + j], w[_RISE + j], w[_FALL + j]
        e, c, grad_e, grad_c, later = w[_E_BEFORE + j], w[_C_BEFORE + j], w[_E + j], w[_C + j], w[_V + j]
        v = w[_X + j] - fed * e - c
        high, low = math.sqrt((v - 1) * (v - 1) + upper * upper), math.sqrt((v + limit) * (v + limit) + lower * lower)
        w[_BY_POLE + j] += grad_e * (e - w[_Y + j])
        w[_BY_RISE + j] += grad_c * 0.5 * (high + v - 1)
        w[_BY_FALL + j] -= grad_c * 0.5 * (low - v - limit)
        w[_BY_KEPT + j] += grad_c * c
        g = w[_GRAD + j] + (1 - pole) * grad_e
        w[_BY_PASSED + j] += g * c
        by_a, by_b, by_limit, by_upper, by_lower = _partials(w[_A + j] if antialias else v, v, limit, upper, knee)
        rising, falling = 0.5 * grad_c * rise / high, 0.5 * grad_c * fall / low
        w[_BY_LIMIT + j] += g * by_limit - falling * (v + limit + lower * knee - low)
        w[_BY_UPPER + j] += g * by_upper + rising * upper
        w[_BY_LOWER + j] += g * by_lower - falling * lower * limit
        grad_v = g * (by_b if antialias else by_a + by_b) + later
        grad_v += rising * (v - 1 + high) - falling * (v + limit - low)
        w[_BY_FED + j] -= grad_v * e
        w[_V + j] = g * by_a if antialias else 0.0
        w[_E + j] = pole * grad_e - fed * grad_v
        w[_C + j] = w[_KEPT + j] * grad_c - grad_v + w[_PASSED + j] * g
        w[_GRAD + j] = grad_v


@njit(**LOOP)
def fed_backward(
    grad_y, grad_end, x, start, settings, y, kept, grad_x, grad_start, grads, antialias, block, offset, first, last
):
    """Gradients of x, start and settings, the last of each row, (R, N, SETTINGS), zero before."""
    w = np.empty(_FIELDS)
    for row in range(first * LANES, min(last * LANES, len(x)), LANES):
        live = min(LANES, len(x) - row)
        for j in range(live):
            w[_V + j], w[_E + j], w[_C + j] = grad_end[row + j, 0], grad_end[row + j, 1], grad_end[row + j, 2]
        until = x.shape[1]
        while until > 0:
            n = (until - 1 + offset) // block
            since = max(n * block - offset, 0)
            _prepare(w, settings, row, live, n)
            for k in range(_SUMS, _FIELDS):
                w[k] = 0.0
            for t in range(until - 1, since - 1, -1):
                for j in range(live):
                    e, c = kept[row + j, 0, t], kept[row + j, 1, t]
                    w[_E_BEFORE + j], w[_C_BEFORE + j], w[_X + j], w[_Y + j] = e, c, x[row + j, t], y[row + j, t]
                    w[_GRAD + j] = grad_y[row + j, t]
                    if t:
                        earlier = w[_FED + j] if t > since else settings[row + j if len(settings) > 1 else 0, n - 1, 3]
                        w[_A + j] = x[row + j, t - 1] - earlier * kept[row + j, 0, t - 1] - kept[row + j, 1, t - 1]
                    else:
                        w[_A + j] = start[row + j, 0]
                _fed_step_back(w, live, antialias)
                for j in range(live):
                    grad_x[row + j, t] = w[_GRAD + j]
            for j in range(live):
                for k in range(SETTINGS):
                    grads[row + j, n, k] += w[_SUMS + k * LANES + j]
            until = since
        for j in range(live):
            grad_start[row + j, 0], grad_start[row + j, 1], grad_start[row + j, 2] = w[_V + j], w[_E + j], w[_C + j]


@njit(**LOOP)
def stream(x, settings, antialias, block, offset, state, length):
    """A clipper in place: see :class:`nablafx.processors.AsymmetricClipper`.

    settings: (N, 2 + SETTINGS) float64 of drive, bias and those of `fed_forward`; state: (3,) of f's last argument,
    what is fed back, and the charge, overwritten.
    """
    a, e, c = state[0], state[1], state[2]
    for t in range(length):
        s = settings[(t + offset) // block]
        v = s[0] * x[t] + s[1] - s[5] * e - c
        limit, upper, lower = s[2], s[3] ** 2, (s[2] * s[4]) ** 2
        y = _clipped(a if antialias else v, v, limit, upper, lower) + s[10] * c
        above, below = _clipped_off(v, limit, upper, lower)
        e, c = y + s[6] * (e - y), s[9] * c + s[7] * above - s[8] * below
        a = v
        x[t] = y
    state[0], state[1], state[2] = a, e, c
