"""The loops of diagonal state-space systems, compiled by numba.

Blocks of m samples are matrix products in float32: with the first m values of the impulse response, with what each
sample adds to the states after the block, and with what the states before it add to each sample. What connects blocks
is a recurrence in float64, once a block: states turn for as long as audio lasts.

Complex numbers lie in groups of LANES, eight real parts and then their eight imaginary ones, filled up with zeros.
A last block that lacks samples has zeros in front, and goes on as many samples as it has.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nablafx.kernels.products import CALLED, add_outer, add_product
from nablafx.kernels.vectors import LANES, LOOP, load, store, weighted

# blocks that are multiplied together
ROWS = 16
HALF = LANES // 2
SILENCE = (0.0,) * LANES


@njit(**CALLED)
def _matrix(width):
    return np.zeros((ROWS, width), np.float32)


@njit(**CALLED)
def _turned(v, real, imaginary, w):
    """z v + w for numbers v, w and z, whose imaginary parts come with the signs that they have in the product."""
    return weighted(real, v, weighted(imaginary, v[8:] + v[:8], w))


@njit(**CALLED)
def _part(values, into):
    """Complex values (N,) as parts (W,) of groups."""
    into[:] = 0
    for n in range(len(values)):
        at = n // HALF * LANES + n % HALF
        into[at], into[at + HALF] = values[n].real, values[n].imag


@njit(**CALLED)
def _join(parts, into):
    """The other way round."""
    for n in range(len(into)):
        at = n // HALF * LANES + n % HALF
        into[n] = complex(parts[at], parts[at + HALF])


@njit(**LOOP)
def _grouped(table):
    """A matrix (K, V LANES) as (V, K, LANES) of float32."""
    out = np.empty((table.shape[1] // LANES, len(table), LANES), np.float32)
    for v in range(len(out)):
        for k in range(len(table)):
            for n in range(LANES):
                out[v, k, n] = table[k, v * LANES + n]
    return out


@njit(**LOOP)
def _powers(log_z, m):
    """z^l for l up to m, (m + 1, N)."""
    powers = np.ones((m + 1, len(log_z)), np.complex128)
    for n in range(len(log_z)):
        z = np.exp(log_z[n])
        for k in range(m):
            powers[k + 1, n] = powers[k, n] * z
    return powers


@njit(**LOOP)
def _tables(powers, gain, readout, direct, width):
    """Of sample i and sample or part j: what i makes of j (m, m), adds to j (m, W) and hears of j (m, W)."""
    m, states = len(powers) - 1, len(gain)
    response = np.zeros((m, m))
    entry, exits = np.zeros((m, width)), np.zeros((m, width))
    for k in range(m):
        value = direct if k == 0 else 0.0
        for n in range(states):
            value += 2 * (readout[n] * gain[n] * powers[k, n]).real
        for i in range(m - k):
            response[i, i + k] = value
        _part(gain * powers[m - 1 - k], entry[k])
        _part(2 * np.conj(readout * powers[k + 1]), exits[k])
    return response, entry, exits


@njit(**CALLED)
def _turns(power, real, imaginary):
    """A power of z (N,) as `_turned` wants it, two arrays (W,)."""
    _part(power, imaginary)
    for at in range(0, len(real), LANES):
        for n in range(at, at + HALF):
            real[n] = real[n + HALF] = imaginary[n]
            imaginary[n] = -imaginary[n + HALF]


@njit(**CALLED)
def _enter(source, t, rows, m, size, into, at):
    """`rows` blocks of `size` samples from sample t on, into (ROWS, ...) from column `at` on; what is missing is 0."""
    if rows < ROWS or size < m:
        into[:] = 0
    for r in range(rows):
        block, to = source[t + r * m : t + r * m + size], into[r, at:]
        for n in range(len(block)):
            to[n] = block[n]


@njit(**CALLED)
def _leave(blocks, t, rows, m, size, into):
    """The other way round, of the last samples of each block."""
    for r in range(rows):
        block, to = blocks[r, m - size :], into[t + r * m : t + r * m + size]
        for n in range(len(to)):
            to[n] = block[n]


@njit(**CALLED)
def _multiply(out, a, w, skipped):
    """out += a w for groups w (V, K, LANES), in each of which `skipped` terms more begin with zeros."""
    for g in range(len(w)):
        add_product(out, g * LANES, a, w[g], g * skipped, w.shape[1])


@njit(**CALLED)
def _pass_blocks(added, s, real, imaginary, starts, rows):
    """starts (ROWS, W) gets the states before each block, s (W,) float64 becomes those after the last one."""
    for at in range(0, len(s), LANES):
        v, p, q = load(s[at:]), load(real[at:]), load(imaginary[at:])
        for r in range(rows):
            store(starts[r, at:], v)
            v = _turned(v, p, q, load(added[r, at:]))
        store(s[at:], v)


@njit(**LOOP)
def forward(u, log_z, gain, readout, direct, state, y, starts, m, first, last):
    """Channels first to last; state (B, H, N) is overwritten, starts (B, H, A, W) gets those before all blocks."""
    batch, length, width = len(u), u.shape[2], starts.shape[3]
    x, out, late = _matrix(m), _matrix(m), _matrix(m)
    added, before = _matrix(width), _matrix(width)
    s, real, imaginary = np.empty(width), np.empty(width), np.empty(width)
    for h in range(first, last):
        powers = _powers(log_z[h], m)
        response, entry, exits = _tables(powers, gain[h], readout[h], direct[h], width)
        by_x, into, by_s = _grouped(response), _grouped(entry), _grouped(np.ascontiguousarray(exits.T))
        for b in range(batch):
            _part(state[b, h], s)
            t = 0
            while t < length:
                rows, size = max(min((length - t) // m, ROWS), 1), min(m, length - t)
                _turns(powers[size], real, imaginary)
                _enter(u[b, h], t, rows, m, size, x, m - size)
                out[:], late[:], added[:] = 0, 0, 0
                for g in range(m // LANES):
                    add_product(out, g * LANES, x, by_x[g], 0, (g + 1) * LANES)
                _multiply(added, x, into, 0)
                _pass_blocks(added, s, real, imaginary, before, rows)
                starts[b, h, t // m : t // m + rows] = before[:rows]
                _multiply(out if size == m else late, before, by_s, 0)
                for n in range(m - size, m if size < m else 0):
                    out[0, n] += late[0, n - m + size]
                _leave(out, t, rows, m, size, y[b, h])
                t += rows * size
            _join(s, state[b, h])


@njit(**CALLED)
def _return_blocks(local, by, power, size, starts, later, at, rows, grad_log_z):
    """The adjoint of `_pass_blocks`: by (W,), gradients by the states after the last block, become those by the first.

    later[:, at:] gets those by the states after each block, and grad_log_z what blocks that turn states by
    power = z^size add to it.
    """
    real, imaginary = np.empty(len(by)), np.empty(len(by))
    straight, crossed = np.empty(len(by)), np.empty(len(by))
    _turns(np.conj(power), real, imaginary)
    for first in range(0, len(by), LANES):
        v, p, q = load(by[first:]), load(real[first:]), load(imaginary[first:])
        along, across = SILENCE, SILENCE
        for r in range(rows - 1, -1, -1):
            store(later[r, at + first :], v)
            s = load(starts[r, first:])
            along, across = weighted(v, s, along), weighted(v, s[8:] + s[:8], across)
            v = _turned(v, p, q, load(local[r, first:]))
        store(by[first:], v)
        store(straight[first:], along)
        store(crossed[first:], across)
    for n in range(len(power)):
        a = n // HALF * LANES + n % HALF
        b = a + HALF
        by_power = complex(straight[a] + straight[b], crossed[b] - crossed[a])
        grad_log_z[n] += size * np.conj(power[n]) * by_power


@njit(**LOOP)
def _of_tables(by_x, by_s, powers, gain, readout, grad_log_z, grad_gain, grad_readout):
    """Gradients of the numbers that `_tables` takes: by_x (m, m + W ...) of response and entry, by_s (W, m) of exits.

    Returns that of `direct`.
    """
    m, states = len(powers) - 1, len(gain)
    by_response = np.zeros(m)
    for i in range(m):
        for j in range(i, m):
            by_response[j - i] += by_x[i, j]
    for n in range(states):
        at = n // HALF * LANES + n % HALF
        by_gain, by_readout, by_log_z = 0j, 0j, 0j
        both = gain[n] * readout[n]
        for k in range(m):
            i = m - 1 - k
            enters = complex(by_x[i, m + at], by_x[i, m + at + HALF])
            leaves = 2 * complex(by_s[at, k], -by_s[at + HALF, k])
            now, then = np.conj(powers[k, n]), np.conj(powers[k + 1, n])
            by_product = 2 * by_response[k] * now
            by_gain += by_product * np.conj(readout[n]) + enters * now
            by_readout += by_product * np.conj(gain[n]) + leaves * then
            by_log_z += k * (by_product * np.conj(both) + enters * np.conj(gain[n]) * now)
            by_log_z += (k + 1) * leaves * np.conj(readout[n]) * then
        grad_gain[n], grad_readout[n] = by_gain, by_readout
        grad_log_z[n] += by_log_z
    return by_response[0]


@njit(**LOOP)
def backward(
    grad_y, u, log_z, gain, readout, direct, starts,
    grad_u, grad_state, grad_log_z, grad_gain, grad_readout, grad_direct, m, first, last,
):  # fmt: skip
    """Channels first to last; grad_state (B, H, N), of the last one, becomes that of the first one."""
    batch, length, width = len(u), u.shape[2], starts.shape[3]
    x, early, out = _matrix(m), _matrix(m), _matrix(m)
    local, before = _matrix(width), _matrix(width)
    # gradients by the samples of a block, beside those by the states after it
    after = _matrix(-(-(m + width) // (2 * LANES)) * 2 * LANES)
    by = np.empty(width)
    for h in range(first, last):
        powers = _powers(log_z[h], m)
        response, entry, exits = _tables(powers, gain[h], readout[h], direct[h], width)
        back, into = _grouped(np.ascontiguousarray(np.hstack((response, entry)).T)), _grouped(exits)
        by_x = np.zeros((m, after.shape[1]), np.float32).reshape(m, -1, LANES)
        by_s = np.zeros((width, m), np.float32).reshape(width, -1, LANES)
        for b in range(batch):
            _part(grad_state[b, h], by)
            end = length
            while end > 0:
                size = end % m if end % m else m
                rows = (end // m - 1) % ROWS + 1 if size == m else 1
                t = end - rows * size
                _enter(u[b, h], t, rows, m, size, x, m - size)
                _enter(grad_y[b, h], t, rows, m, size, after, m - size)
                _enter(grad_y[b, h], t, rows, m, size, early, 0)
                before[:rows] = starts[b, h, t // m : t // m + rows]
                out[:], local[:] = 0, 0
                _multiply(local, early, into, 0)
                _return_blocks(local, by, powers[size], size, before, after, m, rows, grad_log_z[h])
                _multiply(out, after, back, LANES)
                _leave(out, t, rows, m, size, grad_u[b, h])
                add_outer(by_x, x, after.reshape(ROWS, -1, LANES))
                add_outer(by_s, before, early.reshape(ROWS, -1, LANES))
                end = t
            _join(by, grad_state[b, h])
        sums, grads = (by_x.reshape(m, -1), by_s.reshape(width, -1)), (grad_log_z[h], grad_gain[h], grad_readout[h])
        grad_direct[h] = _of_tables(*sums, powers, gain[h], readout[h], *grads)
