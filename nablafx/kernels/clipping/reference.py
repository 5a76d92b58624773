"""What the kernels compute, in plain torch.

A hyperbola g(t) = √(t² + k²) is |t| with a corner of width k, and two of them make a clipper between -n and 1:

    f(x) = (g(x + n; n k₂) - g(x - 1; k₁) + 1 - n) / 2

What is returned is not f(x[t]) but its mean over the straight line from x[t-1] to x[t], the quotient of differences of
its antiderivative: first-order antiderivative antialiasing (Parker, Zavalishin, Le Bivic, "Reducing the aliasing of
nonlinear waveshaping using continuous-time convolution", DAFx 2016). That quotient loses all digits where neighbours
are nearly equal. For a hyperbola it has a form that does not: with A = g(a), B = g(b), S = A + B, r = (b - a) / S,

    mean of g from a to b = S / 4 + ((a + b)² / 4 + k² h(r)) / S,   h(r) = artanh(r) / r = 1 + r²/3 + r⁴/5 + …

A clipper that is fed back subtracts from its argument what one pole p has made of its own output, and the charge c of
a capacitor that what is clipped off charges, above by g₁ and below by g₂ of it a sample, and that keeps q of it:

    v[t] = x[t] - s e[t-1] - c[t-1]
    y[t] = mean of f from v[t-1] to v[t] + r c[t-1]
    e[t] = p e[t-1] + (1 - p) y[t]
    c[t] = q c[t-1] + g₁ (g(v[t] - 1; k₁) + v[t] - 1) / 2 - g₂ (g(v[t] + n; n k₂) - v[t] - n) / 2
"""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx.kernels.gradients import gradients_of

# below it h is the series, whose next term is under 1e-16
_SERIES = 0.1
_TERMS = 8


def clip(x: Tensor, before: Tensor, settings: Tensor, block: int, offset: int) -> Tensor:
    """Mean of f between neighbours: x (B, 1, T), the sample before it (B, 1) -> y (B, 1, T).

    settings: (B or 1, N, 3) n, k₁ and k₂, above 0; sample t is governed by set (t + offset) // block of the N.
    """
    b = torch.cat([before.unsqueeze(-1), x], dim=-1)
    a, b = b[..., :-1], b[..., 1:]
    if settings.shape[1] > 1:
        settings = settings.repeat_interleave(block, dim=1)[:, offset : offset + x.shape[-1]]
    negative, positive_knee, negative_knee = settings.unsqueeze(1).unbind(-1)
    lower = mean(a + negative, b + negative, negative_knee * negative)
    return (lower - mean(a - 1, b - 1, positive_knee) + 1 - negative) / 2


def clip_fed(
    x: Tensor, start: Tensor, settings: Tensor, block: int, offset: int, antialias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `clip`, fed back: x (B, 1, T), start (B, 3) of v, e and c before x, float64 -> y, the same at the end, kept.

    settings: (B or 1, N, 9) float64 n, k₁, k₂, s, p, g₁, g₂, q and r. kept: (B, 2, T) float64, e and c before each
    sample. Without `antialias` f takes the place of its mean.
    """
    sets = settings.unsqueeze(2).unbind(1)
    (before, e, c), outputs, kept = start.split(1, dim=1), [], []
    for t, sample in enumerate(x[:, 0].double().unbind(-1)):
        n, k1, k2, fed, pole, rise, fall, keep, passed = sets[(t + offset) // block].unbind(-1)
        kept.append(torch.cat([part.expand(len(x), -1) for part in (e, c)], dim=1))
        v = sample.unsqueeze(-1) - fed * e - c
        a = before if antialias else v
        y = (mean(a + n, v + n, k2 * n) - mean(a - 1, v - 1, k1) + 1 - n) / 2 + passed * c
        above, below = clipped_off(v, n, k1, k2)
        e, c = y + pole * (e - y), keep * c + rise * above - fall * below
        before = v
        outputs.append(y)
    ends = torch.cat([part.expand(len(x), -1) for part in (before, e, c)], dim=1)
    return torch.stack(outputs, dim=-1).to(x.dtype), ends, torch.stack(kept, dim=-1)


def clipped_off(v: Tensor, n: Tensor, k1: Tensor, k2: Tensor) -> tuple[Tensor, Tensor]:
    """What f takes away above and adds below, both above 0: f(v) = v - the one + the other."""
    above, below = v - 1, v + n
    high, low = (above.square() + k1.square()).sqrt(), (below.square() + (n * k2).square()).sqrt()
    return (high + above) / 2, (low - below) / 2


def clip_fed_backward(
    grad_y: Tensor,
    grad_end: Tensor,
    x: Tensor,
    start: Tensor,
    settings: Tensor,
    y: Tensor,
    kept: Tensor,
    block: int,
    offset: int,
    antialias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, start and settings."""

    def run(x: Tensor, start: Tensor, settings: Tensor) -> tuple[Tensor, ...]:
        return clip_fed(x, start, settings, block, offset, antialias)[:2]

    return gradients_of(run, (x, start, settings), grad_y, grad_end)


def mean(a: Tensor, b: Tensor, k: Tensor) -> Tensor:
    """Of the hyperbola √(t² + k²) from a to b."""
    total = (a.square() + k.square()).sqrt() + (b.square() + k.square()).sqrt()
    return total / 4 + ((a + b).square() / 4 + k.square() * _artanh_ratio((b - a) / total)) / total


def curve(x: Tensor, settings: Tensor) -> Tensor:
    """f at x (..., L) for settings (..., 3)."""
    negative, positive_knee, negative_knee = settings.unsqueeze(-2).unbind(-1)
    lower = ((x + negative).square() + (negative_knee * negative).square()).sqrt()
    return (lower - ((x - 1).square() + positive_knee.square()).sqrt() + 1 - negative) / 2


def _artanh_ratio(r: Tensor) -> Tensor:
    """artanh(r) / r for |r| < 1; what rounds to 1 is taken for less."""
    end = 1 - 4 * torch.finfo(r.dtype).eps
    r = r.clamp(-end, end)
    is_small = r.abs() < _SERIES
    square, series = r.square(), torch.zeros_like(r)
    for n in range(_TERMS - 1, -1, -1):
        series = series * square + 1 / (2 * n + 1)
    large = torch.where(is_small, torch.full_like(r, 0.5), r)
    return torch.where(is_small, series, torch.atanh(large) / large)
