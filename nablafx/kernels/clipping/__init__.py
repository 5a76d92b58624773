"""Asymmetric soft clipping, averaged between neighbouring samples."""

from __future__ import annotations

from torch import Tensor

from nablafx.kernels.clipping import ops, reference
from nablafx.kernels.eager import runs_compiled


def clip(x: Tensor, before: Tensor, settings: Tensor, block: int, offset: int) -> Tensor:
    """See :func:`nablafx.kernels.clipping.reference.clip`: by an operator where it may run, else in plain torch."""
    if runs_compiled(x, before):
        return ops.clip(x.contiguous(), before.contiguous(), settings.double().contiguous(), block, offset)
    return reference.clip(x, before, settings.to(x.dtype), block, offset)


def clip_fed(
    x: Tensor, start: Tensor, settings: Tensor, block: int, offset: int, antialias: bool
) -> tuple[Tensor, Tensor]:
    """y, and v, e and c at the end: see :func:`nablafx.kernels.clipping.reference.clip_fed`."""
    y, end, _ = ops.clip_fed(x.contiguous(), start.contiguous(), settings.contiguous(), block, offset, antialias)
    return y, end


__all__ = ["clip", "clip_fed"]
