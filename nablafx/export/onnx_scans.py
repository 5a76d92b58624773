"""Operators in ONNX that run sample by sample, since each waits for what the one before has made."""

from __future__ import annotations

from typing import Any

from onnxscript import graph, script

from nablafx.export.onnx_values import BOOL, DOUBLE, FLOAT, Bools, Double, Value, ints, op, parts


def envelope(x: Value, attack: Value, release: Value, zi: Value, block: int, offset: int) -> Any:
    u = op.Reshape(op.Cast(x, to=DOUBLE), ints(-1))
    poles = (op.Expand(op.Reshape(p, ints(-1)), op.Shape(u)) for p in (attack, release))
    last, e = _follow(op.Squeeze(zi), u, *poles)
    return op.Reshape(op.Cast(e, to=FLOAT), op.Shape(x)), op.Reshape(last, ints(1, 1))


@script(default_opset=op)
def _follow(e: Double, x: Double, attack: Double, release: Double) -> tuple[Double, Double]:
    @graph()
    def sample(e, x, attack, release):
        after = x + op.Where(op.Greater(x, e), attack, release) * (e - x)
        return after, op.Identity(after)

    last, all_of_them = op.Scan(e, x, attack, release, body=sample, num_scan_inputs=3)
    return last, all_of_them


def clip_fed(x: Value, start: Value, settings: Value, block: int, offset: int, antialias: bool) -> Any:
    u = op.Reshape(op.Cast(x, to=DOUBLE), ints(-1))
    before, e, c = (op.Reshape(state, ints(1)) for state in parts(start, axis=1, count=3))
    n, k1, k2, fed, pole, rise, fall, keep, passed = (
        op.Expand(op.Reshape(part, ints(-1)), op.Shape(u)) for part in parts(settings, axis=2, count=9)
    )
    one = op.Cast(op.Constant(value_floats=[1.0]), to=DOUBLE)

    # of the upper and the lower corner: where it is, the square of its width, and how it charges
    def both(*rows: Value) -> Value:
        return op.Concat(*(op.Unsqueeze(op.Expand(row, op.Shape(u)), ints(-1)) for row in rows), axis=1)

    corners, widths, charging = both(one, op.Neg(n)), both(k1, op.Mul(n, k2)), both(rise, op.Neg(fall))
    is_averaged = op.Cast(ints(int(antialias)), to=BOOL)
    steered = (corners, op.Mul(widths, widths), charging, fed, pole, keep, passed)
    before, e, c, y, *kept = _clip(before, e, c, u, *steered, is_averaged)
    ends = op.Reshape(op.Concat(before, e, c, axis=0), ints(1, 3))
    both_kept = op.Concat(*(op.Reshape(part, ints(1, 1, -1)) for part in kept), axis=1)
    return op.Reshape(op.Cast(y, to=FLOAT), op.Shape(x)), ends, both_kept


@script(default_opset=op)
def _clip(
    before: Double,
    e: Double,
    c: Double,
    x: Double,
    corners: Double,
    squares: Double,
    charging: Double,
    fed: Double,
    pole: Double,
    keep: Double,
    passed: Double,
    is_averaged: Bools,
) -> tuple[Double, Double, Double, Double, Double, Double]:
    signs = op.Cast(op.Constant(value_floats=[-0.5, 0.5]), to=DOUBLE)

    @graph()
    def sample(before, e, c, x, corner, square, charge, fed, pole, keep, passed):
        v = x - fed * e - c
        a = op.Where(is_averaged, before, v) - corner
        b = v - corner
        edge = op.Sqrt(b * b + square)
        total = op.Sqrt(a * a + square) + edge
        r = (b - a) / total
        s = r * r
        near = 1.0 + s / 3.0 + s * s * (0.2 + s / 7.0 + s * s * (0.1111111111111111 + s / 11.0))
        h = op.Where(op.Less(s, 0.01), near, op.Log((1.0 + r) / (1.0 - r)) / (2.0 * r))
        mean = total / 4.0 + ((a + b) * (a + b) / 4.0 + square * h) / total
        y = op.ReduceSum(signs * mean + corner / 2.0, keepdims=1) + passed * c
        e_kept = op.Identity(e)
        c_kept = op.Identity(c)
        after = y + pole * (e - y)
        held = keep * c + op.ReduceSum(charge * (edge / 2.0 - signs * b), keepdims=1)
        return v, after, held, y, e_kept, c_kept

    before, e, c, y, e_kept, c_kept = op.Scan(
        before, e, c, x, corners, squares, charging, fed, pole, keep, passed, body=sample, num_scan_inputs=8
    )
    return before, e, c, y, e_kept, c_kept
