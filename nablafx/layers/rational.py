"""Rational activation: a ratio of two polynomials whose coefficients are learned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PIECE = 2**18  # samples; smaller pieces spend their time in calls


class Rational(nn.Module):
    """Learned memoryless map, a safe Padé form whose denominator cannot vanish ("version A").

        y = P(x) / Q(x),   P(x) = Σ_{i=0..m} a_i x^i,   Q(x) = 1 + Σ_{j=1..n} |b_j x^j|

    degrees: (m, n). init: the function whose minimax fit on [-3, 3] the coefficients start from; that of tanh
    stays within 5 % of its rails up to |x| = 100. scripts/fit_rational.py fits, and prints the errors.
    Parameters: numerator (m + 1) = a_0 … a_m, denominator (n) = b_1 … b_n.
    x: any shape and floating type, which y shares. Half precision is computed in float32: powers overflow.
    Raises ValueError for a function or degrees without stored coefficients.
    Reference: Molina, Schramowski, Kersting, "Padé Activation Units", ICLR 2020, arXiv 1907.06732.
    """

    def __init__(self, degrees: tuple[int, int] = (4, 3), init: str = "tanh") -> None:
        super().__init__()
        numerator, denominator = _stored(degrees, init)
        self.numerator = nn.Parameter(torch.tensor(numerator))
        self.denominator = nn.Parameter(torch.tensor(denominator))

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(torch.promote_types(x.dtype, self.numerator.dtype), torch.float32)
        numerator, denominator = self.numerator.to(dtype), self.denominator.to(dtype)
        # what exports and traces the net needs no gradient, and knows no autograd.Function
        evaluate = _SafePade.apply if torch.is_grad_enabled() else _evaluate
        return evaluate(x.to(dtype), numerator, denominator).to(x.dtype)

    def extra_repr(self) -> str:
        return f"degrees=({len(self.numerator) - 1}, {len(self.denominator)})"


class _SafePade(torch.autograd.Function):
    """The form above, keeping only its arguments for the backward pass.

        ∂y/∂a_i = x^i / Q,   ∂y/∂b_j = -y |x|^j sgn(b_j) / Q,   ∂y/∂x = (P' - y Q') / Q

    Left to autograd, every intermediate of the two polynomials would stay in memory until then.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        ctx.save_for_backward(x, numerator, denominator)
        return _evaluate(x, numerator, denominator)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, numerator, denominator = ctx.saved_tensors
        pairs = zip(_pieces(x), _pieces(grad), strict=True)
        parts = [_gradients(piece, g, numerator, denominator) for piece, g in pairs]
        grad_x, *sums = zip(*parts, strict=True)
        grad_numerator, grad_denominator = (torch.stack(s).sum(0) for s in sums)
        return _joined(grad_x, x), grad_numerator, grad_denominator


def _evaluate(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """P(x) / Q(x); in place, so not for autograd to look into."""
    weights = _with_one(denominator)
    return _joined([_polynomial(p, numerator).div_(_polynomial(p.abs(), weights)) for p in _pieces(x)], x)


def _gradients(x: Tensor, grad: Tensor, numerator: Tensor, denominator: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """grad times the three derivatives, summed over x for the coefficients."""
    magnitude, weights = x.abs(), _with_one(denominator)
    q = _polynomial(magnitude, weights)
    y = _polynomial(x, numerator).div_(q)
    scaled = grad / q
    slope = _derivative(x, numerator) - _derivative(magnitude, weights) * x.sign() * y
    grad_x = slope.mul_(scaled)
    moments = _moments(y.mul_(scaled).mul_(magnitude), magnitude, len(denominator))
    return grad_x, _moments(scaled, x, len(numerator)), -denominator.sign() * moments


def _pieces(x: Tensor) -> Sequence[Tensor]:
    """x, cut so that all the passes over a piece stay in the cache of a CPU: 4 times faster.

    Not where the number of pieces would become part of a graph that has to serve any length.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    whole = traced or not x.is_cpu or x.numel() <= PIECE
    return [x] if whole else x.flatten().split(PIECE)


def _joined(pieces: Sequence[Tensor], x: Tensor) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(tuple(pieces)).view(x.shape)


def _with_one(denominator: Tensor) -> Tensor:
    """1, |b_1|, …, |b_n|: the coefficients of Q as a polynomial in |x|."""
    return torch.cat([denominator.new_ones(1), denominator.abs()])


def _polynomial(x: Tensor, coefficients: Tensor) -> Tensor:
    """Σ_i c_i x^i by Horner's rule, in one buffer."""
    *lower, highest = coefficients.unbind()
    if not lower:
        return highest.expand_as(x)
    y = highest * x
    for c in lower[:0:-1]:
        y = y.add_(c).mul_(x)
    return y.add_(lower[0])


def _derivative(x: Tensor, coefficients: Tensor) -> Tensor:
    """Σ_i i c_i x^(i - 1)."""
    powers = torch.arange(1, len(coefficients), device=x.device, dtype=coefficients.dtype)
    return _polynomial(x, powers * coefficients[1:])


def _moments(weight: Tensor, x: Tensor, count: int) -> Tensor:
    """Sums of weight x^i for i = 0 … count - 1; overwrites weight."""
    sums = [weight.sum()]
    for _ in range(count - 1):
        sums.append(weight.mul_(x).sum())
    return torch.stack(sums)


def _stored(degrees: tuple[int, int], init: str) -> tuple[list[float], list[float]]:
    """Coefficients a and b of a fit by scripts/fit_rational.py."""
    table = _table()
    if init not in table:
        raise ValueError(f"Rational: no coefficients for init={init!r}; there are {', '.join(table)}")
    key = "/".join(map(str, degrees))
    if key not in table[init]:
        there_are = ", ".join(table[init])
        raise ValueError(
            f"Rational: no coefficients of degrees {key} for {init!r}; there are {there_are}. "
            "Add others to DEGREES in scripts/fit_rational.py and run it"
        )
    return table[init][key]["numerator"], table[init][key]["denominator"]


@cache
def _table() -> dict[str, dict[str, dict[str, list[float]]]]:
    return json.loads(Path(__file__).with_suffix(".json").read_text())
