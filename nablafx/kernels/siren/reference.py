"""What the kernels of networks of sines compute, in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def siren(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """h ← sin(W h + b) for all layers but the last one, which has no sine: x (..., inputs) -> (..., outputs)."""
    *hidden, last = zip(weights, biases, strict=True)
    for weight, bias in hidden:
        x = F.linear(x, weight, bias).sin()
    return F.linear(x, *last)
