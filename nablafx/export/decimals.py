"""Numbers in text files."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nablafx.export.formats import ExportError


def decimals(values: Tensor) -> Any:
    """Lists, as deep as the tensor has dimensions, of numbers that are the given ones in 32 bits, in few digits.

    Raises:
        ExportError: one is not finite in 32 bits.
    """
    single = values.detach().float().cpu()
    if not single.isfinite().all():
        raise ExportError(
            "a weight of the file would not be finite in 32 bits: either training has diverged, or gains on the "
            "residual path of a TCN multiply to almost nothing, which --format onnx can express"
        )
    return [decimals(row) for row in single] if single.dim() > 1 else [float(str(value)) for value in single.numpy()]
