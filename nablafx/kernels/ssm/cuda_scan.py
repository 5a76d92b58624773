"""Triton kernels of the scan, for :mod:`nablafx.kernels.ssm.cuda`.

Audio is cut into blocks of M samples, and `run` blocks are a chunk; the rest, less than a block, is a chunk of its
own. A program passes ROWS chunks of one channel, of any items, block by block: blocks are multiplied with tables, see
:mod:`nablafx.kernels.ssm.cuda_tables`, and states stay in registers. The last program of a channel has the rests of all
items, where there are any. States that enter chunks lie in memory as (B, H, chunks, 2, W), those that enter blocks as
(B, H, blocks, 2, N).

blocks, chunks: those without the rest; rest: its samples. PRECISION: of products, as `tl.dot` takes it.
"""

# mypy: disable-error-code="assignment"
# tuples grow by +=, the only way that Triton has, and mypy wants them to keep their length

from __future__ import annotations

import triton
import triton.language as tl

from nablafx.kernels.ssm.cuda_tables import turned

# numbers that Triton would otherwise compile again for, where they are 1 or divisible by 16
NUMBERS = ["length", "states", "channels", "items", "blocks", "run", "chunks", "rest"]


@triton.jit(do_not_specialize=NUMBERS)
def gather(
    audio, table, turns, ends, length, states, channels, items, blocks, run, chunks, rest,
    BACK: tl.constexpr, PRECISION: tl.constexpr, M: tl.constexpr, W: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The states that each chunk of audio makes of silence; BACK: the adjoint, from its end, by the table of exits."""
    begin, stop, step, size, count = _share(items, run, chunks, rest, M, ROWS)
    zr, zi = _turn(turns, size, M, W)
    into_r, into_i = _table(table, 0 if BACK else M - size, M, W)
    for tile in range(begin, stop, step):
        row, chunk, first, last = _places(tile, size, channels, items, blocks, run, chunks, M, ROWS)
        ar = tl.zeros([ROWS, W], tl.float32)
        ai = ar
        for r in range(count):
            block = first + (count - 1 - r if BACK else r)
            x = _samples(audio, row, block, last, length, M)
            br, bi = _advance(ar, ai, x, into_r, into_i, zr, zi, BACK, PRECISION)
            live = (block < last)[:, None]
            ar, ai = tl.where(live, br, ar), tl.where(live, bi, ai)
        place, passed = _chunk_states(ends, row, chunk, first < last, chunks, rest, W)
        tl.store(place, ar, passed)
        tl.store(place + W, ai, passed)


@triton.jit(do_not_specialize=["states", "channels", "chunks", "rest"])
def connect(
    ends, turns, given, left, states, channels, chunks, rest,
    BACK: tl.constexpr, GROUP: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Make what each chunk of a row adds to the states, in place, the states that enter it; GROUP are read at once.

    given, left: states before all chunks and after them, pairs (B, H, N, 2).
    """
    row, n = tl.program_id(0).to(tl.int64), tl.arange(0, W)
    at = (row * states + n) * 2
    sr = tl.load(given + at, n < states, other=0.0).to(tl.float64)
    si = tl.load(given + at + 1, n < states, other=0.0).to(tl.float64)
    count = chunks + (rest > 0)
    turns += row % channels * 8 * W + n
    ends += row * count * 2 * W + n
    for start in range(0, count, GROUP):
        added = ()
        for j in tl.static_range(GROUP):
            place = ends + (count - 1 - start - j if BACK else start + j) * 2 * W
            there = n < tl.where(start + j < count, W, 0)
            added += (tl.load(place, there, other=0.0), tl.load(place + W, there, other=0.0))
        for j in tl.static_range(GROUP):
            if start + j < count:
                chunk = count - 1 - start - j if BACK else start + j
                tl.store(ends + chunk * 2 * W, sr.to(tl.float32))
                tl.store(ends + chunk * 2 * W + W, si.to(tl.float32))
                power = turns + tl.where(chunk == chunks, 1, tl.where(chunk == chunks - 1, 3, 2)) * 2 * W
                tr, ti = turned(sr, si, tl.load(power), tl.load(power + W), BACK)
                sr, si = tr + added[2 * j], ti + added[2 * j + 1]
    tl.store(left + at, sr.to(tl.float32), n < states)
    tl.store(left + at + 1, si.to(tl.float32), n < states)


@triton.jit(do_not_specialize=NUMBERS)
def answer(
    u, response, entry, exits, turns, ends, y, starts, length, states, channels, items, blocks, run, chunks, rest,
    PRECISION: tl.constexpr, M: tl.constexpr, W: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """y, and the states before every block, from those before every chunk."""
    begin, stop, step, size, count = _share(items, run, chunks, rest, M, ROWS)
    zr, zi = _turn(turns, size, M, W)
    into_r, into_i = _table(entry, M - size, M, W)
    exit_r, exit_i = _table(exits, 0, M, W)
    heard = _toeplitz(response, M)
    for tile in range(begin, stop, step):
        row, chunk, first, last = _places(tile, size, channels, items, blocks, run, chunks, M, ROWS)
        place, passed = _chunk_states(ends, row, chunk, first < last, chunks, rest, W)
        sr, si = tl.load(place, passed, other=0.0), tl.load(place + W, passed, other=0.0)
        for r in range(count):
            block = first + r
            x = _samples(u, row, block, last, length, M)
            kept, known = _block_states(starts, row, block, last, blocks, rest, states, W)
            tl.store(kept, sr, known)
            tl.store(kept + states, si, known)
            at, there = _audio(y, row, block, last, length, M)
            tl.store(at, _hear(x, sr, si, heard, exit_r, exit_i, PRECISION), there)
            sr, si = _advance(sr, si, x, into_r, into_i, zr, zi, False, PRECISION)


@triton.jit(do_not_specialize=NUMBERS)
def differentiate(
    grad_y, u, response, entry, exits, turns, ends, starts, grad_u, sums,
    length, states, channels, items, blocks, run, chunks, rest,
    PRECISION: tl.constexpr, M: tl.constexpr, W: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The gradient of u, from those by the states after every chunk, and of the tables, a sum for every program.

    sums (H, programs, M M + 4 M W + 2 W): see `differentiate` of the tables.
    """
    begin, stop, step, size, count = _share(items, run, chunks, rest, M, ROWS)
    zr, zi = _turn(turns, size, M, W)
    into_r, into_i = _table(entry, M - size, M, W)
    exit_r, exit_i = _table(exits, 0, M, W)
    heard = _toeplitz(response, M)
    nothing = tl.zeros([M, W], tl.float32)
    by_tables = (tl.zeros([M, M], tl.float32), nothing, nothing, nothing, nothing)
    by_turn_r, by_turn_i = tl.zeros([ROWS, W], tl.float32), tl.zeros([ROWS, W], tl.float32)
    for tile in range(begin, stop, step):
        row, chunk, first, last = _places(tile, size, channels, items, blocks, run, chunks, M, ROWS)
        place, passed = _chunk_states(ends, row, chunk, first < last, chunks, rest, W)
        ar, ai = tl.load(place, passed, other=0.0), tl.load(place + W, passed, other=0.0)
        for gone in range(count):
            block = first + count - 1 - gone
            g, x = _samples(grad_y, row, block, last, length, M), _samples(u, row, block, last, length, M)
            kept, known = _block_states(starts, row, block, last, blocks, rest, states, W)
            sr, si = tl.load(kept, known, other=0.0), tl.load(kept + states, known, other=0.0)
            at, there = _audio(grad_u, row, block, last, length, M)
            tl.store(at, _hear(g, ar, ai, tl.trans(heard), into_r, into_i, PRECISION), there)
            by_tables = _add_products(by_tables, x, g, ar, ai, sr, si, PRECISION)
            by_turn_r += ar * sr + ai * si
            by_turn_i += ai * sr - ar * si
            br, bi = _advance(ar, ai, g, exit_r, exit_i, zr, zi, True, PRECISION)
            live = (block < last)[:, None]
            ar, ai = tl.where(live, br, ar), tl.where(live, bi, ai)
    sums += (tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)) * (M * M + 4 * M * W + 2 * W)
    _store_products(sums, by_tables, size, M, W)
    # through s' = z^size s log_z gets size conj(z^size) times that
    lr, li = turned(tl.sum(by_turn_r, 0)[None, :], tl.sum(by_turn_i, 0)[None, :], zr, zi, True)
    through = sums + M * M + 4 * M * W + tl.arange(0, W)[None, :]
    tl.store(through, lr * size)
    tl.store(through + W, li * size)


@triton.jit
def _advance(sr, si, x, into_r, into_i, zr, zi, BACK: tl.constexpr, PRECISION: tl.constexpr):
    """The states after a block of each lane, from those before it; BACK: the adjoint."""
    tr, ti = turned(sr, si, zr, zi, BACK)
    tr = tl.dot(x, into_r, tr, input_precision=PRECISION)
    return tr, tl.dot(x, into_i, ti, input_precision=PRECISION)


@triton.jit
def _hear(x, sr, si, heard, exit_r, exit_i, PRECISION: tl.constexpr):
    """What a block of each lane gives for its samples and the states before it."""
    out = tl.dot(x, heard, input_precision=PRECISION)
    out = tl.dot(sr, tl.trans(exit_r), out, input_precision=PRECISION)
    return tl.dot(si, tl.trans(exit_i), out, input_precision=PRECISION)


@triton.jit
def _add_products(sums, x, g, ar, ai, sr, si, PRECISION: tl.constexpr):
    """Gradients of the response, entry and exits, plus those of a block of each lane."""
    heard, into_r, into_i, exit_r, exit_i = sums
    samples, grads = tl.trans(x), tl.trans(g)
    return (
        tl.dot(samples, g, heard, input_precision=PRECISION),
        tl.dot(samples, ar, into_r, input_precision=PRECISION),
        tl.dot(samples, ai, into_i, input_precision=PRECISION),
        tl.dot(grads, sr, exit_r, input_precision=PRECISION),
        tl.dot(grads, si, exit_i, input_precision=PRECISION),
    )


@triton.jit
def _store_products(at, sums, size, M: tl.constexpr, W: tl.constexpr):
    heard, into_r, into_i, exit_r, exit_i = sums
    i, n = tl.arange(0, M), tl.arange(0, W)
    tl.store(at + (i * M)[:, None] + i[None, :], heard)
    # rows back in their order, see `_table`
    into = at + M * M + ((i + M - size) % M * 2 * W)[:, None] + n[None, :]
    tl.store(into, into_r)
    tl.store(into + W, into_i)
    out = at + M * M + 2 * M * W + (i * 2 * W)[:, None] + n[None, :]
    tl.store(out, exit_r)
    tl.store(out + W, exit_i)


@triton.jit
def _share(items, run, chunks, rest, M: tl.constexpr, ROWS: tl.constexpr):
    """What a program passes: its first tile, their end and its step; samples and number of the blocks of a chunk."""
    mine, programs, chunked = tl.program_id(0), tl.num_programs(0) - (rest > 0), items * chunks
    begin, stop, step, size, count = mine, (chunked + ROWS - 1) // ROWS, programs, M + 0 * rest, run
    if mine == programs:
        begin, stop, step, size, count = mine * 0, (items + ROWS - 1) // ROWS, mine * 0 + 1, rest, mine * 0 + 1
    return begin, stop, step, size, count


@triton.jit
def _places(tile, size, channels, items, blocks, run, chunks, M: tl.constexpr, ROWS: tl.constexpr):
    """Rows and chunks of the lanes of a tile, their first block and the end of their blocks."""
    lane, rests = tile * ROWS + tl.arange(0, ROWS), size < M
    spans = tl.where(rests, 1, chunks)
    item, chunk = lane // spans, tl.where(rests, chunks, lane % spans)
    first = tl.where(rests, blocks, chunk * run)
    last = tl.where(rests, blocks + 1, tl.minimum(first + run, blocks))
    return item.to(tl.int64) * channels + tl.program_id(1), chunk, first, tl.where(item < items, last, first)


@triton.jit
def _audio(audio, row, block, last, length, M: tl.constexpr):
    """Where a block of each lane lies in audio (B, H, T), and which of its samples there are."""
    t = block[:, None] * M + tl.arange(0, M)[None, :]
    return audio + row[:, None] * length + t, (block < last)[:, None] & (t < length)


@triton.jit
def _samples(audio, row, block, last, length, M: tl.constexpr):
    at, there = _audio(audio, row, block, last, length, M)
    return tl.load(at, there, other=0.0)


@triton.jit
def _block_states(starts, row, block, last, blocks, rest, states, W: tl.constexpr):
    """Where real parts of the states before a block of each lane lie, and which of them there are."""
    n = tl.arange(0, W)[None, :]
    at = (row * (blocks + (rest > 0)) + block)[:, None] * (2 * states)
    return starts + at + n, (block < last)[:, None] & (n < states)


@triton.jit
def _chunk_states(ends, row, chunk, inside, chunks, rest, W: tl.constexpr):
    """Where real parts of the states that belong to a chunk of each lane lie, and which of them there are."""
    at = (row * (chunks + (rest > 0)) + chunk)[:, None] * (2 * W)
    return ends + at + tl.arange(0, W)[None, :], inside[:, None]


@triton.jit
def _turn(turns, size, M: tl.constexpr, W: tl.constexpr):
    """z^size, which a block turns states by, as two rows."""
    at = turns + (tl.program_id(1) * 4 + (size < M)) * 2 * W + tl.arange(0, W)[None, :]
    return tl.load(at).to(tl.float32), tl.load(at + W).to(tl.float32)


@triton.jit
def _table(table, skipped, M: tl.constexpr, W: tl.constexpr):
    """Real and imaginary parts (M, W) of the channel's table without its first rows, which come last instead."""
    row, n = (tl.arange(0, M) + skipped) % M, tl.arange(0, W)
    at = table + ((tl.program_id(1) * M + row) * 2 * W)[:, None] + n[None, :]
    return tl.load(at), tl.load(at + W)


@triton.jit
def _toeplitz(response, M: tl.constexpr):
    """How sample j of a block (columns) hears sample i."""
    lag = tl.arange(0, M)[None, :] - tl.arange(0, M)[:, None]
    return tl.load(response + tl.program_id(1) * M + lag, lag >= 0, other=0.0)
