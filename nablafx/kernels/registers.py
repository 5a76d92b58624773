"""A vector register of sixteen float32 as a type of numba's, for loops whose sums have to stay in registers.

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
# numba states no types
intrinsic: Any = _intrinsic
_INDEX = ir.IntType(32)
_LLVM = ir.VectorType(ir.FloatType(), LANES)


class _Register(types.Type):
    def __init__(self) -> None:
        super().__init__(name="register")


_register = _Register()


@register_model(_Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _LLVM)


@intrinsic
def address(typing, array, index):
    """Where the number array[index] lies."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(_element(context, builder, signature.args[0], *arguments), ir.IntType(64))

    return types.intp(array, types.intp), generate


@intrinsic
def load_at(typing, place):
    """Sixteen numbers from an address on."""

    def generate(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], _LLVM.as_pointer()), align=4)

    return _register(types.intp), generate


@intrinsic
def load(typing, array, index):
    """array[index : index + 16]."""

    def generate(context, builder, signature, arguments):
        place = _element(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(place, _LLVM.as_pointer()), align=4)

    return _register(array, types.intp), generate


@intrinsic
def store(typing, array, index, register):
    """array[index : index + 16] = register."""

    def generate(context, builder, signature, arguments):
        *where, value = arguments
        place = _element(context, builder, signature.args[0], *where)
        builder.store(value, builder.bitcast(place, _LLVM.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, register), generate


@intrinsic
def spread(typing, number):
    """Sixteen times a number."""

    def generate(context, builder, signature, arguments):
        return _spread(builder, *arguments)

    return _register(types.float32), generate


@intrinsic
def spread_from(typing, array, index):
    """Sixteen times array[index]."""

    def generate(context, builder, signature, arguments):
        return _spread(builder, builder.load(_element(context, builder, signature.args[0], *arguments)))

    return _register(array, types.intp), generate


@intrinsic
def weighted(typing, u, v, w):
    """u v + w, as one operation where the processor has it."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(_LLVM, [_LLVM] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.v16f32"), arguments)

    return _register(u, v, w), generate


def _operator(function: Callable[..., Any], build: Callable[..., Any]) -> None:
    """Let numba use an operator between registers, or a register and a number."""

    @intrinsic
    def run(typing, u, v):
        def generate(context, builder, signature, arguments):
            kinds = zip(arguments, signature.args, strict=True)
            return build(builder, *(a if kind == _register else _spread(builder, a) for a, kind in kinds))

        return _register(u, v), generate

    @overload(function)
    def choose(u, v):
        return (lambda u, v: run(u, v)) if {u, v} in ({_register}, {_register, types.float32}) else None


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
    """The sum of sixteen numbers, by halves."""

    def generate(context, builder, signature, arguments):
        (value,), half = arguments, LANES // 2
        while half:
            nothing = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(value, nothing, ir.Constant(ir.VectorType(_INDEX, half), list(lanes)))
                for lanes in (range(half), range(half, 2 * half))
            )
            value, half = builder.fadd(low, high), half // 2
        return builder.extract_element(value, ir.Constant(_INDEX, 0))

    return types.float32(register), generate


def _spread(builder: Any, number: Any) -> Any:
    nothing = ir.Constant(_LLVM, ir.Undefined)
    one = builder.insert_element(nothing, number, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_INDEX, LANES), None))


def _element(context: Any, builder: Any, kind: types.Type, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])
