"""Triton kernels of the sections, for :mod:`nablafx.kernels.filters.cuda`.

Audio lies as (rows, CHUNK, chunks) in float64: neighbouring threads run neighbouring chunks, and read neighbouring
words. One launch a section is enough, since each does three things: it finds the states that enter its chunks from
the maps of those before, runs its section from them, and finds meanwhile, from silence, the maps of the section that
comes next. The backward pass does the same with chunks, samples and sections in reverse.

CONSTANT: coefficients change nowhere within a chunk.
"""

# mypy: disable-error-code="assignment"
# tuples grow by +=, the only way that Triton has, and mypy wants them to keep their length

from __future__ import annotations

import triton
import triton.language as tl

from nablafx.kernels.filters.cuda_parts import (
    CHUNK,
    add_products,
    advance,
    entry_states,
    hand_over,
    leave_maps,
    load_group,
    load_pair,
    over_a_group,
    retreat,
    section_at,
    store_all,
    times,
)

# numbers that Triton would otherwise compile again for, where they are 1 or divisible by 16
_NUMBERS = ["length", "channels", "items", "count", "block", "offset", "depth", "k"]


@triton.jit(do_not_specialize=_NUMBERS)
def forward(
    audio, q, zi, zf, checkpoints, maps, totals, length, channels, items, count, block, offset, depth, k,
    RUN: tl.constexpr, AHEAD: tl.constexpr, CONSTANT: tl.constexpr, GROUP: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Run section k - 1 over the audio in place (RUN), and find the maps of section k (AHEAD)."""
    row, chunks = tl.program_id(0).to(tl.int64), (length + CHUNK - 1) // CHUNK
    chunk = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside = chunk < chunks
    audio += row * CHUNK * chunks + chunk
    bank = (q + row // channels % items * count * depth * 9, count, block, offset, depth)
    place, zero = (row * depth + k - 1) * 2, tl.full([LANES], 0.0, tl.float64)
    if RUN:
        s = entry_states(maps, totals, zi + place, (k - 1) % 2, chunk, chunks, LANES)
        store_all(checkpoints + ((row * chunks + chunk) * depth + k - 1) * 2, 1, s, inside, 2)
        now = section_at(bank, chunk * CHUNK, k - 1)
    if AHEAD:
        ahead = section_at(bank, chunk * CHUNK, k)
        leap = over_a_group((ahead[0], ahead[1], ahead[2], ahead[3]), GROUP)
        driven, power = (zero, zero), (zero + 1.0, zero, zero, zero + 1.0)
    for start in range(0, CHUNK, GROUP):
        samples, n = load_group(audio + start * chunks, chunks, inside, GROUP), chunk * CHUNK + start
        if RUN:
            samples, s = _run(now, s, samples, n, length, bank, k - 1, CONSTANT, GROUP)
            store_all(audio + start * chunks, chunks, samples, inside, GROUP)
        if AHEAD:
            driven, power = _drive(ahead, leap, driven, power, samples, n, bank, k, CONSTANT, GROUP)
    if RUN:
        store_all(zf + place + chunk * 0, 1, s, chunk == chunks - 1, 2)
    if AHEAD:
        leave_maps(maps, totals, power, driven, k % 2, chunk, chunks, LANES)


@triton.jit(do_not_specialize=_NUMBERS[:-1])
def recompute(
    audio, states, q, checkpoints, length, channels, items, count, block, offset, depth,
    CONSTANT: tl.constexpr, GROUP: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """What enters every section, audio (K, rows, CHUNK, chunks) of which the first is given, and the states before
    every group of samples, (K, rows, CHUNK / GROUP, 2, chunks)."""
    row, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0).to(tl.int64)
    chunks = (length + CHUNK - 1) // CHUNK
    chunk = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside = chunk < chunks
    bank = (q + row // channels % items * count * depth * 9, count, block, offset, depth)
    audio += row * CHUNK * chunks + chunk
    states += row * (CHUNK // GROUP * 2) * chunks + chunk
    for k in range(depth):
        s = load_pair(checkpoints + ((row * chunks + chunk) * depth + k) * 2, 1, inside)
        now = section_at(bank, chunk * CHUNK, k)
        for start in range(0, CHUNK, GROUP):
            store_all(states + start // GROUP * 2 * chunks, chunks, s, inside, 2)
            samples, n = load_group(audio + start * chunks, chunks, inside, GROUP), chunk * CHUNK + start
            outputs, s = _run(now, s, samples, n, length, bank, k, CONSTANT, GROUP)
            if k + 1 < depth:
                store_all(audio + (rows * CHUNK + start) * chunks, chunks, outputs, inside, GROUP)
        audio += rows * CHUNK * chunks
        states += rows * (CHUNK // GROUP * 2) * chunks
        tl.debug_barrier()  # the next section may read what another thread wrote


@triton.jit(do_not_specialize=_NUMBERS)
def backward(
    grad, audio, states, q, grad_zf, grad_zi, grad_q, maps, totals,
    length, channels, items, count, block, offset, depth, k,
    RUN: tl.constexpr, AHEAD: tl.constexpr, CONSTANT: tl.constexpr, GROUP: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Make the gradient of what section k gave that of what it got (RUN), and find the adjoint maps of k - 1 (AHEAD).

    grad_q: (K, 9, rows, chunks), a sum for each chunk; where not CONSTANT (B or 1, N, K, 9), to which it adds.
    """
    row, rows, chunks = tl.program_id(0).to(tl.int64), tl.num_programs(0).to(tl.int64), (length + CHUNK - 1) // CHUNK
    rank = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside, chunk = rank < chunks, tl.maximum(chunks - 1 - rank, 0)
    grad += row * CHUNK * chunks + chunk
    audio += (k * rows + row) * CHUNK * chunks + chunk
    states += (k * rows + row) * (CHUNK // GROUP * 2) * chunks + chunk
    own, place = row // channels % items * count * depth * 9, (row * depth + k) * 2
    bank, zero = (q + own, count, block, offset, depth), tl.full([LANES], 0.0, tl.float64)
    if RUN:
        r = entry_states(maps, totals, grad_zf + place, k % 2, rank, chunks, LANES)
        now, sums = section_at(bank, chunk * CHUNK, k), (zero, zero, zero, zero, zero, zero, zero, zero, zero)
    if AHEAD:
        ahead = section_at(bank, chunk * CHUNK, k - 1)
        leap = over_a_group((ahead[0], ahead[2], ahead[1], ahead[3]), GROUP)
        driven, power = _start_back(grad_zf + place - 2, rank, zero)
    for gone in range(GROUP, CHUNK + 1, GROUP):
        start = CHUNK - gone
        grads, n = load_group(grad + start * chunks, chunks, inside, GROUP), chunk * CHUNK + start
        if RUN:
            samples = load_group(audio + start * chunks, chunks, inside, GROUP)
            s = load_pair(states + start // GROUP * 2 * chunks, chunks, inside)
            before = _rerun(now, s, samples, n, bank, k, CONSTANT, GROUP)
            inputs = (samples, before, grads)
            grads, r, sums = _run_back(now, r, sums, inputs, n, length, bank, k, grad_q + own, inside, CONSTANT, GROUP)
            store_all(grad + start * chunks, chunks, grads, inside, GROUP)
        if AHEAD:
            driven, power = _drive_back(ahead, leap, driven, power, grads, n, length, bank, k - 1, CONSTANT, GROUP)
    if RUN:
        store_all(grad_zi + place + rank * 0, 1, r, rank == chunks - 1, 2)
        if CONSTANT:
            store_all(grad_q + (k * 9 * rows + row) * chunks + chunk, rows * chunks, sums, inside, 9)
    if AHEAD:
        leave_maps(maps, totals, power, driven, (k - 1) % 2, rank, chunks, LANES)


@triton.jit
def _run(q, s, samples, n, length, bank, k, CONSTANT: tl.constexpr, GROUP: tl.constexpr):
    """A group of samples through a section: what it gives, and the state after them."""
    outputs = ()
    for j in tl.static_range(GROUP):
        if not CONSTANT:
            q = section_at(bank, n + j, k)
        y, s = advance(q, s, samples[j], n + j < length)
        outputs += (y,)
    return outputs, s


@triton.jit
def _drive(q, leap, driven, power, samples, n, bank, k, CONSTANT: tl.constexpr, GROUP: tl.constexpr):
    """The map of a group of samples, behind that of those before; leap: A to the power of GROUP."""
    if CONSTANT:
        power = times(leap, power)
    for j in tl.static_range(GROUP):
        if not CONSTANT:
            q = section_at(bank, n + j, k)
            power = times((q[0], q[1], q[2], q[3]), power)
        driven = advance(q, driven, samples[j], True)[1]
    return driven, power


@triton.jit
def _rerun(q, s, samples, n, bank, k, CONSTANT: tl.constexpr, GROUP: tl.constexpr):
    """The states before each sample of a group: s1, s2, s1, s2, and so on."""
    states = ()
    for j in tl.static_range(GROUP):
        states += s
        if not CONSTANT:
            q = section_at(bank, n + j, k)
        s = advance(q, s, samples[j], True)[1]
    return states


@triton.jit
def _start_back(last, rank, zero):
    """The adjoint map of nothing. What enters the chunk that is passed first is known: it is the map's constant."""
    driven = (tl.where(rank > 0, zero, tl.load(last)), tl.where(rank > 0, zero, tl.load(last + 1)))
    later = tl.where(rank > 0, 1.0, zero)
    return driven, (later, zero, zero, later)


@triton.jit
def _run_back(q, r, sums, inputs, n, length, bank, k, grad_q, inside, CONSTANT: tl.constexpr, GROUP: tl.constexpr):
    """The adjoint of `_run`: gradients of its samples in their order, of its state, and of coefficients."""
    samples, states, grads = inputs
    outputs = ()
    for i in tl.static_range(GROUP - 1, -1, -1):
        live = n + i < length
        if not CONSTANT:
            q = section_at(bank, n + i, k)
        sums = add_products(sums, r, (states[2 * i], states[2 * i + 1]), samples[i], grads[i], live)
        v, r = retreat(q, r, grads[i], live)
        outputs = (v,) + outputs  # noqa: RUF005 (Triton has no starred expressions)
        if not CONSTANT:
            sums = hand_over(grad_q, sums, bank, n + i, k, inside)
    return outputs, r, sums


@triton.jit
def _drive_back(q, leap, driven, power, grads, n, length, bank, k, CONSTANT: tl.constexpr, GROUP: tl.constexpr):
    """The adjoint of `_drive`; leap is transposed."""
    if CONSTANT:
        power = times(leap, power)
    for i in tl.static_range(GROUP - 1, -1, -1):
        if not CONSTANT:
            q = section_at(bank, n + i, k)
            power = times((q[0], q[2], q[1], q[3]), power)
        driven = retreat(q, driven, grads[i], n + i < length)[1]
    return driven, power
