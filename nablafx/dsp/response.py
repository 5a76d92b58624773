"""Frequency responses of filters, in complex128 and differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_HIGHEST = 0.499


def frequencies(sample_rate: float, count: int, low_hz: float = 20.0) -> Tensor:
    """`count` frequencies in Hz, (count,) float64, in equal ratios from `low_hz` to 0.499 sample_rate.

    Raises:
        ValueError: `low_hz` is not above 0 and below 0.499 sample_rate.
    """
    high_hz = _HIGHEST * sample_rate
    if not 0 < low_hz < high_hz:
        raise ValueError(
            f"frequencies: low_hz is {low_hz}, and must lie between 0 and {high_hz:.6g} Hz, just under half of the "
            f"sample rate {sample_rate}"
        )
    return torch.logspace(math.log10(low_hz), math.log10(high_hz), count, dtype=torch.float64)


def sos_response(sos: Tensor, freqs_hz: Tensor, sample_rate: float) -> Tensor:
    """Response of second-order sections in series, Π_k b_k(z) / a_k(z) at z = exp(2 π i f / sample_rate).

    Args:
        sos: (..., K, 6) in scipy's order [b0 b1 b2 a0 a1 a2].
        freqs_hz: (F,).

    Returns:
        (..., F) complex128.
    """
    powers = _powers(freqs_hz, sample_rate, 3)
    sos = sos.to(torch.complex128)
    return ((sos[..., :3] @ powers) / (sos[..., 3:] @ powers)).prod(dim=-2)


def fir_response(taps: Tensor, freqs_hz: Tensor, sample_rate: float) -> Tensor:
    """Response of a causal FIR, Σ_n taps[n] z⁻ⁿ: taps (..., L), freqs_hz (F,) -> (..., F) complex128.

    With n = a m + b the powers factor into z^-(a m) z^-b: about 2 √L F of them are made instead of L F.
    """
    length = taps.shape[-1]
    m = max(1, math.isqrt(length))
    rows = -(-length // m)
    padded = torch.nn.functional.pad(taps.to(torch.complex128), (0, rows * m - length))
    fine = _powers(freqs_hz, sample_rate, m)
    coarse = _powers(freqs_hz.double() * m, sample_rate, rows)
    return ((padded.unflatten(-1, (rows, m)) @ fine) * coarse).sum(dim=-2)


def _powers(freqs_hz: Tensor, sample_rate: float, count: int) -> Tensor:
    """z⁻ⁿ for n < count, (count, F) complex128."""
    steps = torch.arange(count, dtype=torch.float64, device=freqs_hz.device)
    angle = torch.outer(steps, freqs_hz.double() * (-2 * math.pi / sample_rate))
    return torch.polar(torch.ones_like(angle), angle)
