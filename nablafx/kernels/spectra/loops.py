"""The loops of the spectral distance, compiled by numba: sixteen frames of one signal at a time.

Frames overlap, and lie side by side where the signal is folded into rows of one phase of the hop each: sixteen
neighbours then are one vector, at any place within a frame. Such a vector passes the window, a Fourier transform, the
distances of its bins and the way back without leaving the second cache; nothing of a spectrum is kept.

Windows are halved: see :func:`nablafx.kernels.spectra.fourier.part`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.spectra.fourier import part, transform, transform_back
from nablafx.kernels.spectra.reference import FLOOR
from nablafx.kernels.vectors import INLINED, LANES, LOOP, NOTHING, load, scaled, store, total, weighted

SEGMENT = 64  # frames that are folded together
_TOGETHER = 32 * LANES  # bins whose distances are found at once


# into the loop before LLVM sees it: see :func:`nablafx.kernels.vectors.tanh`
@njit(**INLINED, inline="always")
def _log(x):
    """log x of a normal number, within 1e-7 and a last bit: exponent, and x - x²/2 + x³ P(x) of degree 6."""
    root = np.int32(0x3F3504F3)  # of 1/2; numba widens integers, and needs to be told that these are of 32 bits
    bits = np.int32(np.float32(x).view(np.int32) - root)
    exponent = np.float32(np.int32(bits & np.int32(-0x800000)))
    m = np.int32(np.int32(bits & np.int32(0x7FFFFF)) + root).view(np.float32) - np.float32(1.0)
    p = np.float32(0.08672118932008743) * m - np.float32(0.14379003643989563)
    p = (p * m + np.float32(0.14978012442588806)) * m - np.float32(0.16564425826072693)
    p = (p * m + np.float32(0.19954873621463776)) * m - np.float32(0.250016987323761)
    p = (p * m + np.float32(0.33334165811538696)) * m - np.float32(0.5)
    return exponent * np.float32(8.262958294867817e-08) + (m * m * p + m)


@njit(**LOOP)
def _compare(pr, pi, tr, ti, squares, energy, ratio):
    """Add distances of bins to the last three; p and t become the gradients of squares / 2 and of ratio.

    Both gradients are by the bins of the prediction.
    """
    floor, one, zero, half = np.float32(FLOOR), np.float32(1.0), np.float32(0.0), np.float32(0.5)
    for n in range(len(pr)):
        x, y = pr[n], pi[n]
        told, wanted = x * x + y * y, tr[n] * tr[n] + ti[n] * ti[n]
        slope = zero if told < floor else one
        told = floor if told < floor else told  # a NaN stays one
        wanted = floor if wanted < floor else wanted
        inverse = one / told
        size = np.sqrt(told)
        d = size - np.sqrt(wanted)
        squares[n] += d * d
        energy[n] += wanted
        same = zero if d == zero else half  # where they are, the quotient may be off by a last bit
        ratio[n] += same * abs(_log(wanted * inverse))
        inverse *= slope
        by_size = d * size * inverse
        by_log = inverse if d > zero else (-inverse if d < zero else zero)
        pr[n], pi[n], tr[n], ti[n] = by_size * x, by_size * y, by_log * x, by_log * y


@njit(**LOOP)
def _distances(p, t, lanes, scratch, sums):
    """`_compare` of all bins, and the sums (3,) of sixteen frames, as far as lanes count."""
    squares, energy, ratio, edges = scratch[0], scratch[1], scratch[2], scratch[3]
    scratch[:] = 0
    # the two real bins of row 0 have imaginary parts of 0
    ends = 2 * LANES
    a, b, none, nor = edges[:ends], edges[ends : 2 * ends], edges[2 * ends : 3 * ends], edges[3 * ends : 4 * ends]
    a[:LANES], a[LANES:], b[:LANES], b[LANES:] = p[0, 0], p[1, 0], t[0, 0], t[1, 0]
    _compare(a, none, b, nor, squares, energy, ratio)
    p[0, 0], p[1, 0], t[0, 0], t[1, 0] = a[:LANES], a[LANES:], b[:LANES], b[LANES:]
    pr, pi, tr, ti = p[0].reshape(-1), p[1].reshape(-1), t[0].reshape(-1), t[1].reshape(-1)
    for start in range(LANES, len(pr), scratch.shape[1]):
        stop = min(start + scratch.shape[1], len(pr))
        _compare(pr[start:stop], pi[start:stop], tr[start:stop], ti[start:stop], squares, energy, ratio)
    for first in range(0, scratch.shape[1], LANES):
        sums[0] += total(load(squares[first:]))
        sums[1] += total(weighted(load(energy[first:]), lanes, NOTHING))
        sums[2] += total(load(ratio[first:]))


@njit(**LOOP)
def _fold(x, start, folded):
    """x (T,) from `start` on as (hop, columns), neighbouring phases of the hop in neighbouring rows; ends reflected."""
    hop, columns = folded.shape
    length = len(x)
    for column in range(columns):
        for phase in range(hop):
            t = start + column * hop + phase
            t = abs(t)
            t = t if t < length else 2 * (length - 1) - t
            folded[phase, column] = x[t] if t >= 0 else 0


@njit(**LOOP)
def _enter(folded, column, window, lanes, z):
    """Sixteen frames, the first of them at a column, through the window; what follows it is silence."""
    hop = folded.shape[0]
    phase = 0
    for n in range(len(window)):
        store(z[n & 1, n >> 1], scaled(window[n], weighted(load(folded[phase, column:]), lanes, NOTHING), NOTHING))
        phase += 1
        if phase == hop:
            phase, column = 0, column + 1
    z[:, len(window) // 2 :] = 0


@njit(**LOOP)
def _leave(z, window, column, folded):
    """The adjoint of `_enter`: frames that overlap add up."""
    hop = folded.shape[0]
    phase = 0
    for n in range(len(window)):
        at = folded[phase, column:]
        store(at, scaled(window[n], load(z[n & 1, n >> 1]), load(at)))
        phase += 1
        if phase == hop:
            phase, column = 0, column + 1


@njit(**LOOP)
def measure(prediction, target, window, hop, lead, frames, tables, by_two, sums, parts, first, last):
    """Segments first to last of SEGMENT frames each: sums (S, 3), and parts (S, 2, samples) of the gradient.

    prediction, target: (R, T). window: (W,), even, halved. lead: samples of the first frame that lie before x[0].
    parts: the gradients of half the first sum and of the third one, where a segment begins; of 0 samples: none.
    """
    turns, quarters, pairs, angles = tables
    segments = (frames + SEGMENT - 1) // SEGMENT
    columns = SEGMENT + (len(window) - 1) // hop
    shape, rows = (hop, columns), (2, len(turns), LANES)
    x, y, slopes = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty((2, *shape), np.float32)
    p, t = np.empty(rows, np.float32), np.empty(rows, np.float32)
    scratch, lanes = np.empty((4, _TOGETHER), np.float32), np.empty(LANES, np.float32)
    for segment in range(first, last):
        row, start = segment // segments, segment % segments * SEGMENT
        _fold(prediction[row], start * hop - lead, x)
        _fold(target[row], start * hop - lead, y)
        slopes[:] = 0
        sums[segment] = 0
        for column in range(0, min(SEGMENT, frames - start), LANES):
            for lane in range(LANES):
                lanes[lane] = start + column + lane < frames
            live = load(lanes)
            _enter(x, column, window, live, p)
            _enter(y, column, window, live, t)
            for z in (p, t):
                transform(z, turns, quarters, by_two)
                part(z, pairs, angles, 1)
            _distances(p, t, live, scratch, sums[segment])
            if parts.shape[2]:
                for z, slope in ((p, slopes[0]), (t, slopes[1])):
                    part(z, pairs, angles, -1)
                    transform_back(z, turns, quarters, by_two)
                    _leave(z, window, column, slope)
        if parts.shape[2]:
            for k in range(2):
                for column in range(columns):
                    for phase in range(hop):
                        parts[segment, k, column * hop + phase] = slopes[k, phase, column]


@njit(**LOOP)
def collect(parts, scales, hop, lead, gradient, first, last):
    """Add the parts of rows first to last, each of the two by its scale, to gradient (R, T); the adjoint of `_fold`."""
    rows, length = gradient.shape
    segments = len(parts) // rows
    by_size, by_log = scales[0], scales[1]
    for row in range(first, last):
        for segment in range(segments):
            a, b = parts[row * segments + segment]
            start = segment * SEGMENT * hop - lead
            low, high = max(-start, 0), min(len(a), length - start)
            for n in range(low):
                gradient[row, -start - n] += by_size * a[n] + by_log * b[n]
            at = gradient[row, start + low :]
            for n in range(low, high):
                at[n - low] += by_size * a[n] + by_log * b[n]
            for n in range(max(high, 0), len(a)):
                t = 2 * (length - 1) - start - n
                if t >= 0:
                    gradient[row, t] += by_size * a[n] + by_log * b[n]
