"""The loops of the clipper, compiled by numba: see :mod:`nablafx.kernels.clipping.reference`; all is float64 inside."""

from __future__ import annotations

import math

from numba import njit

from nablafx.kernels.vectors import INLINED, LOOP


@njit(**INLINED)
def _ratio(r):
    """h(r) and h'(r)."""
    s = r * r
    if s < 0.01:
        h = 1 + s * (1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s * (1 / 13))))))
        slope = r * (2 / 3 + s * (4 / 5 + s * (6 / 7 + s * (8 / 9 + s * (10 / 11 + s * (12 / 13))))))
        return h, slope
    r = min(max(r, -1 + 1e-12), 1 - 1e-12)
    h = 0.5 * math.log((1 + r) / (1 - r)) / r
    return h, (1 / (1 - r * r) - h) / r


@njit(**INLINED)
def _mean(a, b, corner_a, corner_b, square):
    """Of √(t² + square) from a to b, where it is corner_a and corner_b."""
    total = corner_a + corner_b
    h, _ = _ratio((b - a) / total)
    return 0.25 * total + (0.25 * (a + b) * (a + b) + square * h) / total


@njit(**INLINED)
def _slopes(a, b, k):
    """Derivatives of the mean from a to b by a, b and k."""
    corner_a, corner_b = math.sqrt(a * a + k * k), math.sqrt(b * b + k * k)
    inverse = 1 / (corner_a + corner_b)
    r = (b - a) * inverse
    h, slope = _ratio(r)
    bent = k * k * inverse * inverse
    by_total = 0.25 - 0.25 * (a + b) * (a + b) * inverse * inverse - bent * (h + slope * r)
    by_sum, by_difference = 0.5 * (a + b) * inverse, bent * slope
    by_a = by_total * a / corner_a + by_sum - by_difference
    by_b = by_total * b / corner_b + by_sum + by_difference
    return by_a, by_b, by_total * (k / corner_a + k / corner_b) + 2 * k * h * inverse


@njit(**INLINED)
def _partials(a, b, s):
    """Derivatives of the mean of f from a to b by a, b, n, k₁ and k₂, which begin the set s."""
    limit, knee = s[0], s[2]
    low_a, low_b, low_k = _slopes(a + limit, b + limit, limit * knee)
    high_a, high_b, high_k = _slopes(a - 1, b - 1, s[1])
    by_limit = 0.5 * (low_a + low_b + knee * low_k - 1)
    return 0.5 * (low_a - high_a), 0.5 * (low_b - high_b), by_limit, -0.5 * high_k, 0.5 * limit * low_k


@njit(**LOOP)
def forward(x, before, settings, y, block, offset, first, last):
    """Rows first to last of x (R, T), before (R); settings (R or 1, N, 3)."""
    for row in range(first, last):
        sets = settings[row if len(settings) > 1 else 0]
        b = float(before[row])
        t, length = 0, x.shape[1]
        while t < length:
            n = (t + offset) // block
            until = min((n + 1) * block - offset, length)
            limit, upper, lower = sets[n, 0], sets[n, 1] ** 2, (sets[n, 0] * sets[n, 2]) ** 2
            above, below = math.sqrt((b - 1) ** 2 + upper), math.sqrt((b + limit) ** 2 + lower)
            for i in range(t, until):
                a, above_a, below_a = b, above, below
                b = float(x[row, i])
                above, below = math.sqrt((b - 1) ** 2 + upper), math.sqrt((b + limit) ** 2 + lower)
                high = _mean(a - 1, b - 1, above_a, above, upper)
                low = _mean(a + limit, b + limit, below_a, below, lower)
                y[row, i] = 0.5 * (low - high + 1 - limit)
            t = until


@njit(**LOOP)
def backward(grad_y, x, before, settings, grad_x, grad_before, grads, block, offset, first, last):
    """Gradients of x, before and settings, the last of each row, (R, N, 3), zero before."""
    for row in range(first, last):
        sets = settings[row if len(settings) > 1 else 0]
        a, held = float(before[row]), 0.0
        for t in range(x.shape[1]):
            n = (t + offset) // block
            b, g = float(x[row, t]), float(grad_y[row, t])
            by_a, by_b, by_limit, by_upper, by_lower = _partials(a, b, sets[n])
            if t:
                grad_x[row, t - 1] = held + g * by_a
            else:
                grad_before[row] = g * by_a
            held = g * by_b
            grads[row, n, 0] += g * by_limit
            grads[row, n, 1] += g * by_upper
            grads[row, n, 2] += g * by_lower
            a = b
        grad_x[row, x.shape[1] - 1] = held


@njit(**INLINED)
def _clipped(a, b, limit, upper, lower):
    """Mean of f from a to b; upper and lower: the squares of both corners' widths."""
    high = _mean(a - 1, b - 1, math.sqrt((a - 1) ** 2 + upper), math.sqrt((b - 1) ** 2 + upper), upper)
    below_a, below_b = math.sqrt((a + limit) ** 2 + lower), math.sqrt((b + limit) ** 2 + lower)
    return 0.5 * (_mean(a + limit, b + limit, below_a, below_b, lower) - high + 1 - limit)


@njit(**LOOP)
def fed_forward(x, start, settings, y, kept, end, antialias, block, offset, first, last):
    """Rows first to last of x (R, T), start (R, 2); settings (R or 1, N, 5). kept (R, T): e before each sample."""
    for row in range(first, last):
        sets = settings[row if len(settings) > 1 else 0]
        a, e = start[row, 0], start[row, 1]
        for t in range(x.shape[1]):
            s = sets[(t + offset) // block]
            kept[row, t] = e
            b = x[row, t] - s[3] * e
            out = _clipped(a if antialias else b, b, s[0], s[1] ** 2, (s[0] * s[2]) ** 2)
            y[row, t] = out
            e = out + s[4] * (e - out)
            a = b
        end[row, 0], end[row, 1] = a, e


@njit(**LOOP)
def fed_backward(
    grad_y, grad_end, x, start, settings, y, kept, grad_x, grad_start, grads, antialias, block, offset, first, last
):
    """Gradients of x, start and settings, the last of each row, (R, N, 5), zero before."""
    for row in range(first, last):
        sets = settings[row if len(settings) > 1 else 0]
        later, grad_e = grad_end[row, 0], grad_end[row, 1]
        for t in range(x.shape[1] - 1, -1, -1):
            n = (t + offset) // block
            fed, pole, e = sets[n, 3], sets[n, 4], kept[row, t]
            b = x[row, t] - fed * e
            if not antialias:
                a = b
            elif t:
                a = x[row, t - 1] - sets[(t - 1 + offset) // block, 3] * kept[row, t - 1]
            else:
                a = start[row, 0]
            grads[row, n, 4] += grad_e * (e - y[row, t])
            g = grad_y[row, t] + (1 - pole) * grad_e
            by_a, by_b, by_limit, by_upper, by_lower = _partials(a, b, sets[n])
            if not antialias:
                by_a, by_b = 0.0, by_a + by_b
            grads[row, n, 0] += g * by_limit
            grads[row, n, 1] += g * by_upper
            grads[row, n, 2] += g * by_lower
            grad_v = g * by_b + later
            later = g * by_a
            grads[row, n, 3] -= grad_v * e
            grad_e = pole * grad_e - fed * grad_v
            grad_x[row, t] = grad_v
        grad_start[row, 0], grad_start[row, 1] = later, grad_e


@njit(**LOOP)
def stream(x, settings, antialias, block, offset, state, length):
    """A clipper in place: see :class:`nablafx.processors.AsymmetricClipper`.

    settings: (N, 10) float64 of drive, bias, n, k₁, k₂, shift, the poles of attack and release, feedback and its pole;
    state: (3,) of f's last argument, the envelope and what is fed back, overwritten.
    """
    a, r, e = state[0], state[1], state[2]
    for t in range(length):
        s = settings[(t + offset) // block]
        driven = s[0] * x[t]
        rectified = abs(driven) / (1 + abs(driven))
        r = rectified + (s[6] if rectified > r else s[7]) * (r - rectified)
        b = driven + s[1] - s[5] * r - s[8] * e
        out = _clipped(a if antialias else b, b, s[2], s[3] ** 2, (s[2] * s[4]) ** 2)
        e = out + s[9] * (e - out)
        a = b
        x[t] = out
    state[0], state[1], state[2] = a, r, e
