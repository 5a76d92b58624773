"""Registers of sixteen float32 or eight float64 as types of numba's, for loops whose numbers have to stay in registers.

Tuples of numbers (:mod:`nablafx.kernels.vectors`) become registers where the compiler finds that they can, which it
does not for the many sums of a matrix product. Memory is read and written without a check of bounds, in arrays of one
dimension, or by address where a loop reads from several.

numba asks only whether the file of a compiled loop is still what it was, and not whether this one is: who changes it
empties the caches (`__pycache__/*.nb?` beside the loops).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, overload, register_model

from nablafx.kernels.vectors import INLINED

LANES = 16
LANES64 = 8
# numba states no types
intrinsic: Any = _intrinsic
_INDEX = ir.IntType(32)


class _Register(types.Type):
    """Of `lanes` numbers of one type."""

    def __init__(self, number: types.Float, lanes: int) -> None:
        super().__init__(name=f"register of {lanes} {number}")
        self.number, self.lanes, self.bytes = number, lanes, number.bitwidth // 8
        self.llvm = ir.VectorType(ir.FloatType() if number == types.float32 else ir.DoubleType(), lanes)


_REGISTERS = {number: _Register(number, 512 // number.bitwidth) for number in (types.float32, types.float64)}


@register_model(_Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Register) -> None:
        super().__init__(manager, kind, kind.llvm)


@intrinsic
def address(typing, array, index):
    """Where the number array[index] lies."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(_element(context, builder, signature.args[0], *arguments), ir.IntType(64))

    return types.intp(array, types.intp), generate


@intrinsic
def load_at(typing, place):
    """Sixteen float32 from an address on."""
    kind = _REGISTERS[types.float32]

    def generate(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], kind.llvm.as_pointer()), align=kind.bytes)

    return kind(types.intp), generate


@intrinsic
def load(typing, array, index):
    """The numbers of array from index on that a register holds."""
    kind = _REGISTERS[array.dtype]

    def generate(context, builder, signature, arguments):
        place = _element(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(place, kind.llvm.as_pointer()), align=kind.bytes)

    return kind(array, types.intp), generate


@intrinsic
def store(typing, array, index, register):
    """Write the numbers of a register into array, from index on."""

    def generate(context, builder, signature, arguments):
        *where, value = arguments
        place = _element(context, builder, signature.args[0], *where)
        builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=register.bytes)
        return context.get_dummy_value()

    return types.void(array, types.intp, register), generate


@intrinsic
def spread(typing, number):
    """A register full of one number."""
    kind = _REGISTERS[number]

    def generate(context, builder, signature, arguments):
        return _spread(builder, kind, *arguments)

    return kind(number), generate


@intrinsic
def spread_from(typing, array, index):
    """A register full of array[index]."""
    kind = _REGISTERS[array.dtype]

    def generate(context, builder, signature, arguments):
        return _spread(builder, kind, builder.load(_element(context, builder, signature.args[0], *arguments)))

    return kind(array, types.intp), generate


@intrinsic
def weighted(typing, u, v, w):
    """u v + w, as one operation where the processor has it."""

    def generate(context, builder, signature, arguments):
        name = f"llvm.fmuladd.v{u.lanes}f{u.number.bitwidth}"
        operation = cgutils.get_or_insert_function(builder.module, ir.FunctionType(u.llvm, [u.llvm] * 3), name)
        return builder.call(operation, arguments)

    return u(u, u, u), generate


def _operator(function: Callable[..., Any], build: Callable[..., Any]) -> None:
    """Let numba use an operator between registers, or a register and a number."""

    @intrinsic
    def run(typing, u, v):
        kind = u if isinstance(u, _Register) else v

        def generate(context, builder, signature, arguments):
            kinds = zip(arguments, signature.args, strict=True)
            return build(builder, *(a if given == kind else _spread(builder, kind, a) for a, given in kinds))

        return kind(u, v), generate

    @overload(function)
    def choose(u, v):
        kind = u if isinstance(u, _Register) else v
        fits = isinstance(kind, _Register) and {u, v} <= {kind, kind.number}
        return (lambda u, v: run(u, v)) if fits else None


# the first of two operands stays where it is no number, so that what has gone wrong shows
_operator(min, lambda builder, u, v: builder.select(builder.fcmp_ordered(">", u, v), v, u))
_operator(max, lambda builder, u, v: builder.select(builder.fcmp_ordered("<", u, v), v, u))
_operator(operator.add, lambda builder, u, v: builder.fadd(u, v, flags=["contract"]))
_operator(operator.sub, lambda builder, u, v: builder.fsub(u, v, flags=["contract"]))
_operator(operator.mul, lambda builder, u, v: builder.fmul(u, v, flags=["contract"]))
_operator(operator.truediv, lambda builder, u, v: builder.fdiv(u, v))


@njit(**INLINED, inline="always")
def tanh(x):
    """x P(x²) / Q(x²) of degrees 4 / 4, the minimax fit of tanh on [-8, 8], and the ends beyond: within 3e-7.

    Half the work of the one in :mod:`nablafx.kernels.vectors`, whose slope is exact where it is flat.
    """
    x = min(max(x, np.float32(-8.0)), np.float32(8.0))
    t = x * x
    p = np.float32(1.5061718381538638e-08) * t + np.float32(2.1773179707636975e-05)
    p = (p * t + np.float32(3.5641520827380973e-03)) * t + np.float32(1.3438187721960324e-01)
    q = np.float32(8.4536244098126730e-07) * t + np.float32(3.3991728001449067e-04)
    q = (q * t + np.float32(2.6136000267922660e-02)) * t + np.float32(4.6771508496087744e-01)
    one = np.float32(1.0)
    return x * (p * t + one) / (q * t + one)


@njit(**INLINED, inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x)), by tanh."""
    return np.float32(0.5) * tanh(np.float32(0.5) * x) + np.float32(0.5)


@intrinsic
def total(typing, register):
    """The sum of the numbers of a register, by halves."""

    def generate(context, builder, signature, arguments):
        (value,), half = arguments, register.lanes // 2
        while half:
            nothing = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(value, nothing, ir.Constant(ir.VectorType(_INDEX, half), list(lanes)))
                for lanes in (range(half), range(half, 2 * half))
            )
            value, half = builder.fadd(low, high), half // 2
        return builder.extract_element(value, ir.Constant(_INDEX, 0))

    return register.number(register), generate


def _spread(builder: Any, kind: _Register, number: Any) -> Any:
    nothing = ir.Constant(kind.llvm, ir.Undefined)
    one = builder.insert_element(nothing, number, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_INDEX, kind.lanes), None))


def _element(context: Any, builder: Any, kind: types.Type, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])
