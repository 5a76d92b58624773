"""Two all-pass chains whose outputs are 90 degrees apart: a Hilbert transform that is causal and recursive.

No causal filter shifts every frequency by a constant angle, but two all-passes can keep a constant angle between them
over a band. With n first-order sections (p - s) / (p + s) in all, the choice of Darlington 1950 ("Realization of a
constant phase difference", Bell System Technical Journal 29) makes the error equiripple, so that no other choice of n
is better. For band edges w1 < w2 of the prewarped frequency tan(π f / sample_rate), with the elliptic modulus
k = √(1 - (w1/w2)²) and its nome Q,

    p_r = √(w1 w2) θ1(φ_r, Q) / θ2(φ_r, Q),    φ_r = π (4 r + 1) / (4 n),    r = 0 … n - 1,

where θ1 and θ2 are Jacobi's theta functions. Positive p belong to one chain, |p| of the negative ones to the other. The
largest error is 4 Qⁿ radians, wherever that is small.

The names: I (in phase) lags and Q (quadrature) leads it by 90 degrees, so that Q = i I within the band and

    y = cos(φ) I + sin(φ) Q

has the phase of I plus φ. Outside the band the difference falls to 0, at DC and at half the sample rate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx.dsp.biquad import MAX_CUTOFF

ORDER = 8
"""First-order sections in each chain. 8 keep within 0.049 degree (-61 dB) of 90 from 20 Hz to 20 kHz at 48 kHz, and 6
within 0.40; at 44.1 kHz, where 20 kHz is nearer to the end, 8 keep within 0.076."""

_LEAST_R = 1e-5
_TERMS = 14  # of the theta series: the first left out is below 1e-19 for any band that starts above 0.01 Hz


def poles(
    sample_rate: float, order: int = ORDER, low_hz: float = 20.0, high_hz: float = 20_000.0
) -> tuple[Tensor, Tensor]:
    """Prewarped poles p > 0 of the two chains, in phase and quadrature, each (order,) float64 and rising.

    Args:
        sample_rate: in Hz.
        order: first-order sections in each chain.
        low_hz: where the band begins in which 90 degrees are kept.
        high_hz: where it ends; at most MAX_CUTOFF sample_rate is taken.

    Raises:
        ValueError: `order` is not positive, or the band is empty.
    """
    high_hz = min(high_hz, MAX_CUTOFF * sample_rate)
    if order < 1:
        raise ValueError(f"hilbert.poles: order is {order}, and must be at least 1")
    if not 0 < low_hz < high_hz:
        raise ValueError(f"hilbert.poles: low_hz is {low_hz}, and must lie between 0 and high_hz, here {high_hz:.6g}")
    low, high = (math.tan(math.pi * edge / sample_rate) for edge in (low_hz, high_hz))
    nome = _nome(low / high)
    phi = math.pi / (8 * order) * (4 * torch.arange(2 * order, dtype=torch.float64) + 1)
    m = torch.arange(_TERMS, dtype=torch.float64).unsqueeze(-1)
    weight = nome ** (m * (m + 1))
    theta1 = ((-1) ** m * weight * torch.sin((2 * m + 1) * phi)).sum(0)
    theta2 = (weight * torch.cos((2 * m + 1) * phi)).sum(0)
    p = math.sqrt(low * high) * theta1 / theta2
    return p[:order], -p[order:].flip(0)


def allpass_sections(poles: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """A chain of all-passes Π (1 - r s) / (1 + r s), r = scale / p, s = (1 - z⁻¹) / (1 + z⁻¹).

    The scale moves the band to 1 / scale times its prewarped frequencies: 1 is the chain as designed, and 0 the
    identity, to within -60 dB below 20 kHz: r stays above 1e-5, for a pole at -1 would let a state ring for ever. Each
    all-pass keeps a section of its own, since the state of one pole stays bounded however the scale jumps.

    Args:
        poles: (P,) above 0.
        scale: (*S,), 0 or above.

    Returns:
        (*S, P, 6) float64 in scipy's order, [c 1 0 1 c 0] with c = (1 - r) / (1 + r).
    """
    r = (torch.as_tensor(scale, dtype=torch.float64).unsqueeze(-1) / poles.double()).clamp(min=_LEAST_R)
    c = (1 - r) / (1 + r)
    one, zero = torch.ones_like(c), torch.zeros_like(c)
    return torch.stack([c, one, zero, one, c, zero], dim=-1)


def _nome(ratio: float) -> float:
    """exp(-π K'/K) of the complementary modulus `ratio`, by Gauss: K = π / (2 agm(1, k')), K' = π / (2 agm(1, k))."""
    return math.exp(-math.pi * _agm(1, ratio) / _agm(1, math.sqrt(1 - ratio**2)))


def _agm(a: float, b: float) -> float:
    """The arithmetic-geometric mean; the digits that are right double with every step."""
    while abs(a - b) > 1e-15 * a:
        a, b = (a + b) / 2, math.sqrt(a * b)
    return a
