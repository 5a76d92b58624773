"""The package's own operators in ONNX, for `torch.onnx.export`: of one stream, as all exports are.

Linear recurrences are not run sample by sample: a block of m samples and the state before it, times one table, are the
m outputs and the state after it. Tables of what does not change are constants once a runtime has loaded the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from onnxscript import graph, script

from nablafx.export.onnx_scans import clip_fed, envelope
from nablafx.export.onnx_values import (
    DOUBLE,
    FLOAT,
    INT32,
    Double,
    Ints,
    Number,
    Value,
    ints,
    joined,
    op,
    parts,
    sliced,
)
from nablafx.export.operators import block_for


def table() -> dict[Any, Callable]:
    """Translations by operator."""
    ours = torch.ops.nablafx
    return {
        ours.block_peaks.default: block_peaks,
        ours.clip_fed.default: clip_fed,
        ours.diagonal_scan.default: diagonal_scan,
        ours.envelope.default: envelope,
        ours.lstm.default: lstm,
        ours.sections.default: sections,
    }


def block_peaks(x: Value, begun: Value, size: int) -> Value:
    length = op.Shape(x, start=2)
    whole = (length + (size - 1)) / size * size + size
    pads = op.Concat(ints(0, 0), begun, ints(0, 0), whole - length - begun, axis=0)
    padded = op.Pad(x, pads, op.Constant(value_float=float("-inf")))
    peaks, _ = op.MaxPool(padded, kernel_shape=[size], strides=[size])
    return peaks


def lstm(x: Value, h: Value, c: Value, w_ih: Value, w_hh: Value, bias: Value, steps: Value = None) -> Any:
    weights = [op.Unsqueeze(_reordered(w), ints(0)) for w in (w_ih, w_hh)]
    unused = op.Constant(value_floats=[0.0] * bias.shape[0])
    both = op.Unsqueeze(op.Concat(_reordered(bias), unused, axis=0), ints(0))
    by_time = op.Transpose(x, perm=[1, 0, 2])
    hidden = h.shape[2]
    if steps is None:
        y, h, c = op.LSTM(by_time, *weights, both, None, h, c, hidden_size=hidden)
    else:
        # a runtime need not take 0 steps
        taken = op.Cast(op.Reshape(op.Max(steps, 1), ints(-1)), to=INT32)
        y, next_h, next_c = op.LSTM(by_time, *weights, both, taken, h, c, hidden_size=hidden)
        moved = op.Greater(steps, 0)
        h, c = op.Where(moved, next_h, h), op.Where(moved, next_c, c)
    return op.Transpose(op.Squeeze(y, ints(1)), perm=[1, 0, 2]), h, c


def _reordered(gates: Value) -> Value:
    """torch's i, f, g, o as ONNX's i, o, f, c."""
    i, f, g, o = op.Split(gates, axis=0, num_outputs=4)
    return op.Concat(i, o, f, g, axis=0)


def diagonal_scan(x: Value, state: Value, table: Value, powers: Value) -> Any:
    m, channels, states = powers.shape[0] - 1, powers.shape[1], powers.shape[3]

    def turn(s: Value, steps: Value) -> Value:
        parts = op.Split(op.Reshape(s, ints(channels, 2, states)), axis=1, num_outputs=2)
        a, b = op.Split(op.Squeeze(op.Gather(powers, steps), ints(0)), axis=1, num_outputs=2)
        re, im = parts
        return op.Reshape(op.Concat(a * re - b * im, a * im + b * re, axis=1), ints(channels, 1, 2 * states))

    s = op.Reshape(state, ints(channels, 1, 2 * states))
    systems = _Linear(m, 2 * states, table, turn)
    y, s = systems.run(op.Reshape(x, ints(channels, 1, -1)), s, x.shape[2])
    return op.Reshape(y, ints(1, channels, -1)), op.Reshape(s, ints(1, channels, 2, states))


def sections(x: Value, coefficients: Value, zi: Value, block: int, offset: int) -> Any:
    run = _steady_sections if coefficients.shape[1] == 1 else _changing_sections
    y, zf = run(op.Cast(x, to=DOUBLE), coefficients, zi, x.shape[2])
    # the third is for the backward pass
    return op.Cast(y, to=FLOAT), zf, op.Reshape(zf, ints(1, 1, -1))


def _steady_sections(u: Value, coefficients: Value, zi: Value, length: Any) -> tuple[Value, Value]:
    count, m = coefficients.shape[2], block_for(length)
    tables, powers = _section_tables(coefficients, count, m)
    after = []
    states = parts(op.Squeeze(zi, ints(0)), 1, count)
    for s, table, power in zip(states, parts(tables, 0, count), parts(powers, 0, count), strict=True):

        def turn(s: Value, steps: Value, power: Value = power) -> Value:
            return op.MatMul(s, op.Gather(op.Squeeze(power, ints(0)), steps))

        u, s = _Linear(m, 2, table, turn).run(u, s, length)
        after.append(s)
    return u, op.Unsqueeze(joined(after, 1), ints(0))


def _section_tables(coefficients: Value, count: int, m: int) -> tuple[Value, Value]:
    """Tables (K, m + 2, m + 2) of sections that stay, and the powers of their transposed A, (K, m + 1, 2, 2)."""
    q = op.Reshape(coefficients, ints(count, 9))
    places = ((0, 4, (2, 2)), (4, 6, (2, 1)), (6, 8, (2, 1)), (8, 9, (1,)))
    a, b, c, d = (op.Reshape(sliced(q, start, stop, 1), ints(count, *shape)) for start, stop, shape in places)
    turns = _powers(op.Transpose(a, perm=[0, 2, 1]), count, m + 1)
    powers = op.Transpose(turns, perm=[0, 1, 3, 2])
    # rows of all the matrices as one: many products of 2 x 2 matrices take many times as long
    entered = op.Reshape(op.MatMul(_rows(powers, count, m), b), ints(count, m, 2))
    response = op.Concat(d, sliced(op.Squeeze(op.MatMul(entered, c), ints(2)), 0, m - 1, 1), axis=1)
    entry = op.Slice(entered, ints(-1), ints(-m - 1), ints(1), ints(-1))
    readout = op.Reshape(op.MatMul(_rows(turns, count, m), c), ints(count, m, 2))
    by_samples = op.Concat(_toeplitz(response, count, m), entry, axis=2)
    last = op.Squeeze(sliced(turns, m, m + 1, 1), ints(1))
    by_state = op.Concat(op.Transpose(readout, perm=[0, 2, 1]), last, axis=2)
    return op.Concat(by_samples, by_state, axis=1), turns


def _rows(matrices: Value, sections: int, count: int) -> Value:
    """The first so many matrices of (K, N, 2, 2), one beneath the other."""
    return op.Reshape(sliced(matrices, 0, count, 1), ints(sections, 2 * count, 2))


def _powers(a: Value, sections: int, count: int) -> Value:
    """A^0 … A^(count - 1) (K, count, 2, 2), by doubling, of (K, 2, 2)."""
    identity = op.Cast(op.EyeLike(op.ConstantOfShape(ints(2, 2))), to=DOUBLE)
    rows, made = op.Expand(identity, ints(sections, 2, 2)), 1
    while made < count:
        rows, made = op.Concat(rows, op.MatMul(rows, a), axis=1), 2 * made
        a = op.MatMul(a, a)
    return sliced(op.Reshape(rows, ints(sections, made, 2, 2)), 0, count, 1)


def _toeplitz(response: Value, count: int, m: int) -> Value:
    """(K, m) -> (K, m, m), row j the response j samples later: rows of 2 m values, read as rows of 2 m - 1."""
    padded = op.Pad(response, ints(0, 0, 0, m))
    rows = op.Expand(op.Unsqueeze(padded, ints(1)), ints(count, m, 2 * m))
    flat = sliced(op.Reshape(rows, ints(count, -1)), 0, m * (2 * m - 1), 1)
    return sliced(op.Reshape(flat, ints(count, m, 2 * m - 1)), 0, m, 2)


class _Linear(NamedTuple):
    """H linear systems of S states, by blocks of m samples.

    table: (H, m + S, m + S).
    turn: a state (H, 1, S) and a number of samples (1,) -> what becomes of it in silence.
    """

    m: int
    states: int
    table: Value
    turn: Callable[[Value, Value], Value]

    def run(self, x: Value, s: Value, length: Any) -> tuple[Value, Value]:
        """x (H, 1, length) and the state before it -> y and the state after it."""
        if length == self.m:
            both = op.MatMul(op.Concat(x, s, axis=2), self.table)
            return sliced(both, 0, self.m, 2), sliced(both, self.m, self.m + self.states, 2)
        samples = op.Shape(x, start=2)
        missing = (samples + (self.m - 1)) / self.m * self.m - samples
        whole = op.Pad(x, op.Concat(ints(0, 0, 0, 0, 0), missing, axis=0))
        by_block = op.Reshape(whole, op.Concat(op.Shape(x, end=1), ints(-1, 1, self.m), axis=0))
        y, after, starts = _scan_blocks(by_block, s, self.table, ints(self.m, self.states))
        y = op.Slice(op.Reshape(y, op.Concat(op.Shape(x, end=2), ints(-1), axis=0)), ints(0), samples, ints(2))
        if isinstance(length, int) and length % self.m == 0:
            return y, after
        return y, self._end(x, missing, op.Squeeze(op.Slice(starts, ints(-1), ints(2**31), ints(0)), ints(0)))

    def _end(self, x: Value, missing: Value, start: Value) -> Value:
        """The state after a last block that lacks samples: those it has meet the last rows of the table."""
        taken = self.m - missing
        last = op.Slice(x, op.Neg(taken), ints(2**31), ints(2))
        last = op.Pad(last, op.Concat(ints(0, 0), missing, ints(0, 0, 0), axis=0))
        entry = sliced(sliced(self.table, 0, self.m, 1), self.m, self.m + self.states, 2)
        return op.MatMul(last, entry) + self.turn(start, taken)


@script(default_opset=op)
def _scan_blocks(x: Number, s: Number, table: Number, sizes: Ints) -> tuple[Number, Number, Number]:
    @graph()
    def block(s, x):
        y, after = op.Split(op.MatMul(op.Concat(x, s, axis=2), table), sizes, axis=2)
        start = op.Identity(s)
        return after, y, start

    after, y, starts = op.Scan(s, x, body=block, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1, 0])
    return y, after, starts


def _changing_sections(u: Value, coefficients: Value, zi: Value, length: Any) -> tuple[Value, Value]:
    count = coefficients.shape[2]
    u = op.Reshape(u, ints(-1, 1, 1))
    after = []
    sets = parts(op.Squeeze(coefficients, ints(0)), 1, count)
    for q, s in zip(sets, parts(op.Squeeze(zi, ints(0, 1)), 0, count), strict=True):
        u, s = _follow_section(u, q, op.Reshape(s, ints(1, 2, 1)))
        after.append(op.Reshape(s, ints(1, 1, 1, 2)))
    return op.Reshape(u, ints(1, 1, -1)), joined(after, 2)


@script(default_opset=op)
def _follow_section(u: Double, q: Double, s: Double) -> tuple[Double, Double]:
    """One section with a set q (T, 1, 9) a sample, over u (T, 1, 1) from s (1, 2, 1).

    s[n+1] = A[n] s[n] + b[n] u[n] composes: after a step of `reach` samples each state holds what the last 2 reach of
    them have left, and the transition over them.
    """
    a = op.Reshape(op.Slice(q, [0], [4], [2]), [-1, 2, 2])
    b = op.Reshape(op.Slice(q, [4], [6], [2]), [-1, 2, 1])
    c = op.Slice(q, [6], [8], [2])
    d = op.Slice(q, [8], [9], [2])
    states = op.Concat(s, op.Mul(b, u), axis=0)
    turns = op.Pad(a, [1, 0, 0, 0, 0, 0])
    count = op.Shape(states, start=0, end=1)
    reach = op.Constant(value_ints=[1])
    more = op.Squeeze(op.Less(reach, count))
    while more:
        both = op.Concat(turns, states, axis=2)
        earlier = op.Slice(op.Pad(both, op.Concat(reach, [0, 0, 0, 0, 0], axis=0)), [0], count, [0])
        carried = op.MatMul(turns, earlier)
        states = op.Add(states, op.Slice(carried, [2], [3], [2]))
        turns = op.Slice(carried, [0], [2], [2])
        reach = op.Add(reach, reach)
        more = op.Squeeze(op.Less(reach, count))
    y = op.Add(op.MatMul(c, op.Slice(states, [0], op.Sub(count, [1]), [0])), op.Mul(d, u))
    return y, op.Slice(states, op.Sub(count, [1]), count, [0])
