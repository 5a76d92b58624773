"""Triton kernels of the envelope follower, for :mod:`nablafx.kernels.filters.cuda`.

The switch between attack and release depends on the envelope itself, so that one thread walks along each row. Once the
envelope is known its adjoint is linear, m[n] = g[n] + p[n+1] m[n+1], and a scan.
"""

# mypy: disable-error-code="assignment"
# tuples grow by +=, the only way that Triton has, and mypy wants them to keep their length

from __future__ import annotations

import triton
import triton.language as tl

GROUP = tl.constexpr(32)  # samples that are read before they are needed
SPAN = tl.constexpr(1024)  # samples of a scan

_NUMBERS = ["length", "channels", "items", "count", "block", "offset"]


@triton.jit(do_not_specialize=_NUMBERS)
def follow(
    x, attack, release, zi, y, zf, length, channels, items, count, block, offset, CONSTANT: tl.constexpr
):  # fmt: skip
    """e of a row; CONSTANT: the poles change nowhere within a group."""
    row = tl.program_id(0).to(tl.int64)
    own = row // channels % items * count
    x += row * length
    y += row * length
    e = tl.load(zi + row)
    following = _load_group(x, 0, length)
    for start in range(0, length, GROUP):
        samples = following
        following = _load_group(x, start + GROUP, length)
        rising, falling = _poles(attack + own, release + own, start, count, block, offset)
        for j in tl.static_range(GROUP):
            if not CONSTANT:
                rising, falling = _poles(attack + own, release + own, start + j, count, block, offset)
            u, inside = samples[j], start + j < length
            distance = e - u
            after = tl.where(u > e, u + rising * distance, u + falling * distance)
            e = tl.where(inside, after, e)
            tl.store(y + start + j, e.to(y.dtype.element_ty), inside)
    tl.store(zf + row, e)


@triton.jit(do_not_specialize=_NUMBERS)
def follow_back(
    grad_y, grad_zf, x, e, attack, release, zi, grad_x, grad_attack, grad_release, grad_zi,
    length, channels, items, count, block, offset,
):  # fmt: skip
    """Gradients of a row; e: the envelope in float64; those of the poles by sample, (rows, T) float64."""
    row = tl.program_id(0).to(tl.int64)
    own, at = row // channels % items * count, row * length
    lane, carry, start = tl.arange(0, SPAN), tl.load(grad_zf + row), tl.load(zi + row)
    for gone in range(0, length, SPAN):
        n = length - 1 - gone - lane  # backwards: the scan then runs forwards
        inside, later = n >= 0, n + 1 < length
        g = tl.load(grad_y + at + n, inside, other=0.0).to(tl.float64)
        u = tl.load(x + at + n, inside, other=0.0).to(tl.float64)
        now = tl.load(e + at + n, inside, other=0.0)
        previous = tl.where(n > 0, tl.load(e + at + n - 1, n > 0, other=0.0), start)
        u_later = tl.load(x + at + n + 1, inside & later, other=0.0).to(tl.float64)
        pole = _pole_taken(u, previous, attack + own, release + own, n, count, block, offset)
        pole_later = _pole_taken(u_later, now, attack + own, release + own, n + 1, count, block, offset)
        pole_later = tl.where(later, pole_later, 1.0)
        _, m = tl.associative_scan((pole_later, tl.where(lane == 0, g + pole_later * carry, g)), 0, _join)
        carry = tl.sum(tl.where(lane == SPAN - 1, m, 0.0))
        pull = m * (previous - u)
        tl.store(grad_x + at + n, ((1.0 - pole) * m).to(grad_x.dtype.element_ty), inside)
        tl.store(grad_attack + at + n, tl.where(u > previous, pull, 0.0), inside)
        tl.store(grad_release + at + n, tl.where(u > previous, 0.0, pull), inside)
        tl.store(grad_zi + row + lane * 0, pole * m, n == 0)


@triton.jit
def _load_group(x, start, length):
    samples = ()
    for j in tl.static_range(GROUP):
        samples += (tl.load(x + start + j, start + j < length, other=0.0).to(tl.float64),)
    return samples


@triton.jit
def _poles(attack, release, n, count, block, offset):
    """Attack and release at sample n; one set governs whatever block says."""
    index = tl.minimum((n + offset) // block, count - 1)
    return tl.load(attack + index), tl.load(release + index)


@triton.jit
def _pole_taken(u, before, attack, release, n, count, block, offset):
    rising, falling = _poles(attack, release, tl.maximum(n, 0), count, block, offset)
    return tl.where(u > before, rising, falling)


@triton.jit
def _join(p, f, q, g):
    """The map m -> p m + f, then m -> q m + g."""
    return q * p, q * f + g
