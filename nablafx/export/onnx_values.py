"""What translations into ONNX are written with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Union

import onnxscript

Value = Any
op: Any = onnxscript.opset18

if TYPE_CHECKING:
    from typing import Any as Bools
    from typing import Any as Double
    from typing import Any as Ints
    from typing import Any as Number
else:
    # of any shape; a bare DOUBLE is a scalar, and of unions onnxscript reads those alone that are bounds
    Bools, Double, Ints = onnxscript.BOOL[...], onnxscript.DOUBLE[...], onnxscript.INT64[...]
    Number = TypeVar("Number", bound=Union[onnxscript.FLOAT[...], Double])  # noqa: UP007

FLOAT, DOUBLE, INT32, BOOL = 1, 11, 6, 9


def ints(*values: int) -> Value:
    return op.Constant(value_ints=list(values))


def sliced(x: Value, start: int, stop: int, axis: int) -> Value:
    return op.Slice(x, ints(start), ints(stop), ints(axis))


def parts(x: Value, axis: int, count: int) -> list[Value]:
    return [x] if count == 1 else list(op.Split(x, axis=axis, num_outputs=count))


def joined(parts: list[Value], axis: int) -> Value:
    return parts[0] if len(parts) == 1 else op.Concat(*parts, axis=axis)
