"""Second-order sections of equalisers: the designs of R. Bristow-Johnson's Audio EQ Cookbook (W3C note, 2021).

Every design is an analog prototype H(s) with its corner at 1 rad/s, and the bilinear transform

    s = (1 - z⁻¹) / (1 + z⁻¹) / tan(w / 2),    w = 2 π cutoff_hz / sample_rate,

that puts the corner at the cut-off. Multiplied through by sin²(w / 2), the coefficients are sums of prototype
coefficients times sin², sin cos and cos² of w / 2. Hence no 1 - cos w is ever formed, which would lose five digits at
20 Hz and 48 kHz.

Each coefficient of a prototype is a power of A = 10^(gain_db / 40), that of s divided by Q as well, so that a table of
exponents makes sections of any kinds at once. All is computed in float64, since poles near z = 1 need it, and comes in
scipy's order [b0 b1 b2 1 a1 a2]. Cut-offs in Hz are above 0; from
MAX_CUTOFF sample_rate on they are taken for that, with the gradient 0. `q` is above 0. For shelves it is the cookbook's
Q: 0.707 is the steepest slope that does not overshoot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MAX_CUTOFF = 0.49
"""The highest cut-off as a fraction of the sample rate: at one half, poles and zeros would fall together."""

_Exponents = tuple[float | None, float | None, float | None]


class Prototype(NamedTuple):
    """Exponents of A in the coefficients of s², s and 1; None: no such term. What stands before s is divided by Q."""

    numerator: _Exponents
    denominator: _Exponents


# (s² + s A/Q + 1) / (s² + s/(A Q) + 1)
PEAKING = Prototype((0, 1, 0), (0, -1, 0))
# A (s² + s √A/Q + A) / (A s² + s √A/Q + 1)
LOWSHELF = Prototype((1, 1.5, 2), (1, 0.5, 0))
# A (A s² + s √A/Q + 1) / (s² + s √A/Q + A)
HIGHSHELF = Prototype((2, 1.5, 1), (0, 0.5, 1))
# 1 / (s² + s/Q + 1)
LOWPASS = Prototype((None, None, 0), (0, 0, 0))
# s² / (s² + s/Q + 1)
HIGHPASS = Prototype((0, None, None), (0, 0, 0))


def table(prototypes: Sequence[Prototype]) -> Tensor:
    """What `design` needs of K kinds, (2, K, 6) float64: exponents, and 1 where there is such a term.

    Made once and kept, for to bring it to an accelerator is to wait for that.
    """
    rows = [(*p.numerator, *p.denominator) for p in prototypes]
    exponents = [[e or 0 for e in row] for row in rows]
    there = [[float(e is not None) for e in row] for row in rows]
    return torch.tensor([exponents, there], dtype=torch.float64)


def design(kinds: Tensor, gain_db: Tensor, cutoff_hz: Tensor, q: Tensor, sample_rate: float) -> Tensor:
    """Sections of K kinds at once: their `table`, values of each (*S, K) or broadcasting to it, -> (*S, K, 6)."""
    log_a = gain_db.double().unsqueeze(-1) * (math.log(10) / 40)
    exponents, there = kinds.double()
    analog = there * torch.exp(exponents * log_a)
    high, middle, low = analog.unflatten(-1, (2, 3)).unbind(-1)
    half = (cutoff_hz.double().clamp(max=MAX_CUTOFF * sample_rate) * (math.pi / sample_rate)).unsqueeze(-1)
    sin, cos = half.sin(), half.cos()
    high, middle, low = high * cos.square(), middle * (sin * cos / q.double().unsqueeze(-1)), low * sin.square()
    digital = torch.stack([high + middle + low, 2 * (low - high), high - middle + low], dim=-1)
    return (digital / digital[..., 1:, :1]).flatten(-2)


def peaking(gain_db: Tensor | float, cutoff_hz: Tensor | float, q: Tensor | float, sample_rate: float) -> Tensor:
    """A bell, `gain_db` at `cutoff_hz` and 0 dB at both ends: numbers or tensors of a shape S -> (*S, 6)."""
    return _single(PEAKING, gain_db, cutoff_hz, q, sample_rate)


def lowshelf(gain_db: Tensor | float, cutoff_hz: Tensor | float, q: Tensor | float, sample_rate: float) -> Tensor:
    """`gain_db` below the cut-off, half of it there, 0 dB above; shapes as in `peaking`."""
    return _single(LOWSHELF, gain_db, cutoff_hz, q, sample_rate)


def highshelf(gain_db: Tensor | float, cutoff_hz: Tensor | float, q: Tensor | float, sample_rate: float) -> Tensor:
    """`gain_db` above the cut-off, half of it there, 0 dB below; shapes as in `peaking`."""
    return _single(HIGHSHELF, gain_db, cutoff_hz, q, sample_rate)


def lowpass(cutoff_hz: Tensor | float, q: Tensor | float, sample_rate: float) -> Tensor:
    """12 dB per octave above the cut-off, where the amplitude is Q; shapes as in `peaking`."""
    return _single(LOWPASS, 0.0, cutoff_hz, q, sample_rate)


def highpass(cutoff_hz: Tensor | float, q: Tensor | float, sample_rate: float) -> Tensor:
    """12 dB per octave below the cut-off, where the amplitude is Q; shapes as in `peaking`."""
    return _single(HIGHPASS, 0.0, cutoff_hz, q, sample_rate)


def cascade(*sections: Tensor) -> Tensor:
    """Designs in series: K tensors (*S, 6) that broadcast -> (*S, K, 6), in the order given."""
    return torch.stack(torch.broadcast_tensors(*sections), dim=-2)


def _single(prototype: Prototype, gain_db, cutoff_hz, q, sample_rate: float) -> Tensor:
    gain_db, cutoff_hz, q = torch.broadcast_tensors(
        *(torch.as_tensor(value, dtype=torch.float64).unsqueeze(-1) for value in (gain_db, cutoff_hz, q))
    )
    return design(table([prototype]).to(gain_db.device), gain_db, cutoff_hz, q, sample_rate).squeeze(-2)
