"""Curves drawn by networks of sines."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nablafx.kernels.eager import runs_compiled
from nablafx.kernels.siren import ops, reference

# a CPU has done fewer products in plain torch before a compiled loop has begun
_FEW = 1_000_000


def siren(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """See :mod:`nablafx.kernels.siren.reference`: by an operator where it may run, else in plain torch."""
    single = weights[0].shape[1] == weights[-1].shape[0] == 1
    products = sum(weight.numel() for weight in weights)
    # how long x is comes last: to an exporter it is a symbol, and would be bound by this
    if single and runs_compiled(x, *weights, *biases) and x.numel() * products >= _FEW:
        return ops.siren(x, list(weights), list(biases))
    return reference.siren(x, weights, biases)


__all__ = ["siren"]
