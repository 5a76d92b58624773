"""Triton kernels of the tables that blocks of M samples are multiplied with, and of the gradients through them.

For H channels of N states, filled up with zeros to W, complex numbers being pairs along an axis of two:
    response (H, M): the impulse response.
    entry (H, M, 2, W): g z^(M-1-i), what sample i adds to the states after its block.
    exits (H, M, 2, W): conj(2 c z^(i+1)), of whose product with the states before a block sample i hears the real part.
    turns (H, 4, 2, W) float64: how a whole block, the rest, a whole chunk and the last chunk turn states.
Each serves both ways: gradients of samples and of states pass through the table that states and samples came by.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def times(ar, ai, br, bi):
    """a b."""
    return ar * br - ai * bi, ar * bi + ai * br


@triton.jit
def turned(ar, ai, zr, zi, BACK: tl.constexpr):
    """z a, or conj(z) a."""
    if BACK:
        zi = -zi
    return times(zr, zi, ar, ai)


@triton.jit
def _power(log_r, log_i, exponent):
    """z to a real power."""
    size, angle = tl.exp(log_r * exponent), log_i * exponent
    return size * tl.cos(angle), size * tl.sin(angle)


@triton.jit
def _pairs(numbers, channel, states, W: tl.constexpr):
    """The complex numbers of a channel, from pairs (H, N, 2)."""
    n = tl.arange(0, W)
    at = numbers + (channel * states + n) * 2
    return tl.load(at, n < states, other=0.0), tl.load(at + 1, n < states, other=0.0)


@triton.jit
def _store_pairs(numbers, channel, states, real, imaginary, W: tl.constexpr):
    n = tl.arange(0, W)
    at = numbers + (channel * states + n) * 2
    tl.store(at, real, n < states)
    tl.store(at + 1, imaginary, n < states)


@triton.jit(do_not_specialize=["states", "rest", "run", "last"])
def make(log_z, gain, readout, direct, response, entry, exits, turns, states, rest, run, last,
         M: tl.constexpr, W: tl.constexpr):  # fmt: skip
    """All tables of a channel. rest: samples beyond whole blocks; run, last: blocks of a chunk, and of the last one."""
    channel, k, n = tl.program_id(0), tl.arange(0, M), tl.arange(0, W)
    zr, zi = _pairs(log_z, channel, states, W)
    gr, gi = _pairs(gain, channel, states, W)
    cr, ci = _pairs(readout, channel, states, W)
    spans = (M, rest, run * M, last * M)
    for i in tl.static_range(4):
        real, imaginary = _power(zr, zi, (zr * 0.0 + 1.0) * spans[i])
        at = turns + (channel * 4 + i) * 2 * W + n
        tl.store(at, real)
        tl.store(at + W, imaginary)
    pr, pi = _power(zr[None, :], zi[None, :], k.to(tl.float64)[:, None])
    er, ei = times(pr, pi, gr[None, :], gi[None, :])
    at = entry + ((channel * M + M - 1 - k) * 2 * W)[:, None] + n[None, :]
    tl.store(at, er.to(tl.float32))
    tl.store(at + W, ei.to(tl.float32))
    heard = tl.sum(2.0 * times(er, ei, cr[None, :], ci[None, :])[0], 1)
    heard += tl.where(k == 0, tl.load(direct + channel), 0.0)
    tl.store(response + channel * M + k, heard.to(tl.float32))
    yr, yi = _power(zr, zi, zr * 0.0 + 1.0)
    yr, yi = times(yr, yi, 2.0 * cr, 2.0 * ci)
    xr, xi = times(pr, pi, yr[None, :], yi[None, :])
    at = exits + ((channel * M + k) * 2 * W)[:, None] + n[None, :]
    tl.store(at, xr.to(tl.float32))
    tl.store(at + W, -xi.to(tl.float32))


@triton.jit(do_not_specialize=["states"])
def differentiate(sums, log_z, gain, readout, grad_log_z, grad_gain, grad_readout, grad_direct, states,
                  M: tl.constexpr, W: tl.constexpr, ROWS: tl.constexpr):  # fmt: skip
    """Gradients of a channel's numbers from those of its tables, ROWS powers at once.

    sums (H, M M + 4 M W + 2 W) float64: by how sample j hears sample i (M, M), entry, exits, and for log_z what comes
    through blocks that turn states.
    """
    channel, k, n = tl.program_id(0), tl.arange(0, M), tl.arange(0, W)
    sums += channel * (M * M + 4 * M * W + 2 * W)
    lag = k[None, :] + k[:, None]
    by_response = tl.sum(tl.load(sums + k[None, :] * M + lag, lag < M, other=0.0), 1)
    tl.store(grad_direct + channel, tl.sum(tl.where(k == 0, by_response, 0.0)))
    zr, zi = _pairs(log_z, channel, states, W)
    gr, gi = _pairs(gain, channel, states, W)
    cr, ci = _pairs(readout, channel, states, W)
    # of what the response, entry and exits get: sums over powers of conj(z), and those times the exponents
    zero = zr * 0.0
    h0, h1, e0, e1, x0, x1 = (zero, zero), (zero, zero), (zero, zero), (zero, zero), (zero, zero), (zero, zero)
    for first in range(0, M, ROWS):
        row = first + tl.arange(0, ROWS)
        exponent = row.to(tl.float64)[:, None]
        p = _power(zr[None, :], -zi[None, :], exponent)
        heard = tl.sum(tl.where(k[None, :] == row[:, None], by_response[None, :], 0.0), 1)[:, None]
        h0, h1 = _add(h0, h1, exponent, (2.0 * heard * p[0], 2.0 * heard * p[1]))
        at = sums + M * M + ((M - 1 - row) * 2 * W)[:, None] + n[None, :]
        e0, e1 = _add(e0, e1, exponent, times(tl.load(at), tl.load(at + W), p[0], p[1]))
        at = sums + M * M + ((M + row) * 2 * W)[:, None] + n[None, :]
        x0, x1 = _add(x0, x1, exponent + 1.0, times(2.0 * tl.load(at), -2.0 * tl.load(at + W), p[0], p[1]))
    yr, yi = _power(zr, -zi, zero + 1.0)
    x0, x1 = times(x0[0], x0[1], yr, yi), times(x1[0], x1[1], yr, yi)
    of_gain, of_readout = times(h0[0], h0[1], cr, -ci), times(h0[0], h0[1], gr, -gi)
    _store_pairs(grad_gain, channel, states, of_gain[0] + e0[0], of_gain[1] + e0[1], W)
    _store_pairs(grad_readout, channel, states, of_readout[0] + x0[0], of_readout[1] + x0[1], W)
    both = times(gr, -gi, cr, -ci)
    by_h, by_e, by_x = times(h1[0], h1[1], both[0], both[1]), times(e1[0], e1[1], gr, -gi), times(x1[0], x1[1], cr, -ci)
    at = sums + M * M + 4 * M * W + n
    real, imaginary = tl.load(at) + by_h[0] + by_e[0] + by_x[0], tl.load(at + W) + by_h[1] + by_e[1] + by_x[1]
    _store_pairs(grad_log_z, channel, states, real, imaginary, W)


@triton.jit
def _add(plain, weighted, exponent, terms):
    """Sums of terms over rows, and of terms times their exponents."""
    real, imaginary = terms
    plain = plain[0] + tl.sum(real, 0), plain[1] + tl.sum(imaginary, 0)
    return plain, (weighted[0] + tl.sum(exponent * real, 0), weighted[1] + tl.sum(exponent * imaginary, 0))
