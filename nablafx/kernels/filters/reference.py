"""What the kernels compute, sample by sample in plain torch. Slow: the oracle of the other backends.

Shapes that all backends share:
    x, y: (B, C, T), float32 or float64; C channels of an item share its sections.
    coefficients: (B or 1, N, K, 9) float64, for each section A (2 x 2, by rows), b (2), c (2) and d of

        y[n] = c · s[n] + d u[n],    s[n+1] = A s[n] + b u[n]

        K sections in series, u of the first one x. Sample n is governed by set (n + offset) // block of the N.
    zi, zf: (B, C, K, 2) float64, s before the first and after the last sample.
    checkpoints: (B, C, ceil(T / CHUNK), K, 2) float64, s before every chunk: from them the backward pass finds
        again what lies between, so that nothing else has to be kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx.kernels.gradients import gradients_of

CHUNK = 128  # samples between checkpoints


def sections(x: Tensor, coefficients: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor, Tensor]:
    """Run the sections: y, zf, checkpoints."""
    sets = [[q.unbind(-1) for q in one.unsqueeze(1).unbind(2)] for one in coefficients.unbind(1)]  # 9 of (B, 1) each
    state, outputs, checkpoints = zi, [], []
    for n, u in enumerate(x.double().unbind(-1)):
        if n % CHUNK == 0:
            checkpoints.append(state)
        after = []
        for q, s in zip(sets[(n + offset) // block], state.unbind(2), strict=True):
            a11, a12, a21, a22, b1, b2, c1, c2, d = q
            s1, s2 = s.unbind(-1)
            after.append(torch.stack([a11 * s1 + a12 * s2 + b1 * u, a21 * s1 + a22 * s2 + b2 * u], dim=-1))
            u = c1 * s1 + c2 * s2 + d * u
        state = torch.stack(after, dim=2)
        outputs.append(u)
    return torch.stack(outputs, dim=-1).to(x.dtype), state, torch.stack(checkpoints, dim=2)


def sections_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    coefficients: Tensor,
    checkpoints: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, coefficients and zi."""
    given = (x, coefficients, checkpoints[:, :, 0])
    return gradients_of(lambda x, q, zi: sections(x, q, zi, block, offset)[:2], given, grad_y, grad_zf)


def envelope(x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor]:
    """e[n] = x[n] + p (e[n-1] - x[n]), where the pole p is attack for x[n] > e[n-1], release elsewhere.

    x (B, C, T), attack and release (B or 1, N) float64 in [0, 1), zi (B, C) float64: e before the first sample.
    Returns e (B, C, T) and the last one, (B, C).
    """
    sets = list(zip(attack.unsqueeze(-1).unbind(1), release.unsqueeze(-1).unbind(1), strict=True))
    e, outputs = zi, []
    for n, u in enumerate(x.double().unbind(-1)):
        pole = torch.where(u > e, *sets[(n + offset) // block])
        e = u + pole * (e - u)
        outputs.append(e)
    return torch.stack(outputs, dim=-1).to(x.dtype), e


def envelope_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    attack: Tensor,
    release: Tensor,
    zi: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, attack, release and zi."""
    given = (x, attack, release, zi)
    return gradients_of(lambda x, a, r, zi: envelope(x, a, r, zi, block, offset), given, grad_y, grad_zf)
