"""Parts of the Triton kernels: coefficients, one sample of a section and of its adjoint, maps of chunks and their scan.

A chunk maps the state before it to the state after it, s -> P s + f. Maps lie in memory as six planes,
(2, 6, rows, chunks), and so do those of tiles, the LANES chunks of one program: a launch reads one half and writes the
other. Where a thread has several numbers they are a tuple: A by rows, b, c and d for a section, P by rows for a map.
"""

# mypy: disable-error-code="assignment"
# tuples grow by +=, the only way that Triton has, and mypy wants them to keep their length

from __future__ import annotations

import triton
import triton.language as tl

from nablafx.kernels.filters import reference

CHUNK = tl.constexpr(reference.CHUNK)


@triton.jit
def load_group(at, stride, mask, GROUP: tl.constexpr):
    """GROUP samples of each lane at once, so that their latencies overlap."""
    samples = ()
    for j in tl.static_range(GROUP):
        samples += (tl.load(at + j * stride, mask, other=0.0),)
    return samples


@triton.jit
def load_pair(at, stride, mask):
    return tl.load(at, mask, other=0.0), tl.load(at + stride, mask, other=0.0)


@triton.jit
def store_all(at, stride, values, mask, COUNT: tl.constexpr):
    for i in tl.static_range(COUNT):
        tl.store(at + i * stride, values[i], mask)


@triton.jit
def section_place(bank, n, k):
    """Where the coefficients of section k at sample n lie, counted from the first ones of the item."""
    _, count, block, offset, depth = bank
    # sets that would lie beyond the last one belong to lanes beyond the audio; one set governs whatever block says
    index = tl.minimum((n + offset) // block, count - 1).to(tl.int64)
    return (index * depth + k) * 9


@triton.jit
def section_at(bank, n, k):
    """The coefficients of section k at sample n."""
    at = bank[0] + section_place(bank, n, k)
    q = ()
    for i in tl.static_range(9):
        q += (tl.load(at + i),)
    return q


@triton.jit
def advance(q, s, u, live):
    """y[n] and s[n+1]; where not live, in the padding, the state stays."""
    a11, a12, a21, a22, b1, b2, c1, c2, d = q
    s1, s2 = s
    y = d * u + c2 * s2 + c1 * s1
    return y, (tl.where(live, b1 * u + a12 * s2 + a11 * s1, s1), tl.where(live, b2 * u + a22 * s2 + a21 * s1, s2))


@triton.jit
def retreat(q, r, g, live):
    """The gradients of u[n] and s[n], from those of y[n] and s[n+1]."""
    a11, a12, a21, a22, b1, b2, c1, c2, d = q
    r1, r2 = r
    v = tl.where(live, d * g + b2 * r2 + b1 * r1, 0.0)
    return v, (tl.where(live, c1 * g + a21 * r2 + a11 * r1, r1), tl.where(live, c2 * g + a22 * r2 + a12 * r1, r2))


@triton.jit
def add_products(sums, r, s, u, g, live):
    """The gradients of the coefficients, plus those of one sample; r: the gradient of s[n+1]."""
    r1, r2 = tl.where(live, r[0], 0.0), tl.where(live, r[1], 0.0)
    s1, s2 = s
    d11, d12, d21, d22, db1, db2, dc1, dc2, dd = sums
    return (
        d11 + r1 * s1,
        d12 + r1 * s2,
        d21 + r2 * s1,
        d22 + r2 * s2,
        db1 + r1 * u,
        db2 + r2 * u,
        dc1 + g * s1,
        dc2 + g * s2,
        dd + g * u,
    )


@triton.jit
def hand_over(grad_q, sums, bank, n, k, inside):
    """Where a set of coefficients or the chunk begins at sample n, add sums to the set's gradient and start anew."""
    _, _, block, offset, _ = bank
    due = inside & ((n % CHUNK == 0) | ((n + offset) % block == 0))
    at = grad_q + section_place(bank, n, k)
    rest = ()
    for i in tl.static_range(9):
        tl.atomic_add(at + i, sums[i], due, sem="relaxed")
        rest += (tl.where(due, 0.0, sums[i]),)
    return rest


@triton.jit
def times(p, q):
    """The matrix product p q."""
    p11, p12, p21, p22 = p
    q11, q12, q21, q22 = q
    return p11 * q11 + p12 * q21, p11 * q12 + p12 * q22, p21 * q11 + p22 * q21, p21 * q12 + p22 * q22


@triton.jit
def over_a_group(p, GROUP: tl.constexpr):
    """p to the power of GROUP."""
    product = p
    for _ in tl.static_range(GROUP - 1):
        product = times(p, product)
    return product


@triton.jit
def join(p11, p12, p21, p22, p1, p2, q11, q12, q21, q22, q1, q2):
    """The map that applies p, then q."""
    product = times((q11, q12, q21, q22), (p11, p12, p21, p22))
    return product[0], product[1], product[2], product[3], q1 + q11 * p1 + q12 * p2, q2 + q21 * p1 + q22 * p2


@triton.jit
def load_map(at, plane, mask):
    values = ()
    for i in tl.static_range(6):
        values += (tl.load(at + i * plane, mask, other=0.0),)
    return values


@triton.jit
def entry_states(maps, totals, first, half, rank, chunks, LANES: tl.constexpr):
    """The state that enters each chunk of this tile; rank numbers the chunks in the order of their passing.

    first: where the state lies that enters the first chunk.
    """
    row, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0).to(tl.int64)
    tiles, lane = tl.num_programs(1), tl.arange(0, LANES)
    s1, s2 = tl.load(first), tl.load(first + 1)
    totals += (half * 6 * rows + row) * tiles
    for tile in range(tl.program_id(1)):
        p11, p12, p21, p22, f1, f2 = load_map(totals + tile, rows * tiles, True)
        s1, s2 = f1 + p11 * s1 + p12 * s2, f2 + p21 * s1 + p22 * s2
    # lane i has the map of the chunk before its own, and lane 0 the state itself
    at = maps + (half * 6 * rows + row) * chunks + rank - 1
    p11, p12, p21, p22, f1, f2 = load_map(at, rows * chunks, (lane > 0) & (rank <= chunks))
    f1, f2 = tl.where(lane > 0, f1, s1), tl.where(lane > 0, f2, s2)
    entry = tl.associative_scan((p11, p12, p21, p22, f1, f2), 0, join)
    return entry[4], entry[5]


@triton.jit
def leave_maps(maps, totals, power, driven, half, rank, chunks, LANES: tl.constexpr):
    """Write the map of every chunk, and that of the tile."""
    row, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0).to(tl.int64)
    tiles, lane = tl.num_programs(1), tl.arange(0, LANES)
    own = (power[0], power[1], power[2], power[3], driven[0], driven[1])
    store_all(maps + (half * 6 * rows + row) * chunks + rank, rows * chunks, own, rank < chunks, 6)
    total = tl.associative_scan(own, 0, join)
    at = totals + (half * 6 * rows + row) * tiles + tl.program_id(1) + lane * 0
    store_all(at, rows * tiles, total, lane == LANES - 1, 6)
