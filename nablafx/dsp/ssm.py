"""Diagonal linear state-space systems: impulse response, recurrence and a chunked solver.

One channel h with N complex states obeys

    s[t] = z s[t-1] + g u[t],    y[t] = 2 Re(Σ_n c_n s_n[t]) + d u[t],    z = exp(A dt), g = (z - 1) / A

(zero-order hold of the continuous system s' = A s + u; Gupta et al. 2022, arXiv 2203.14343, and Gu et al. 2022,
arXiv 2206.11893). A system is given by :class:`Diagonal`. Its numbers are kept in float64: the angle of z**l grows with
l, and float32 would be wrong by degrees after a second of audio; the tensors they make are tiny.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nablafx.kernels import ssm as kernels
from nablafx.kernels.ssm.reference import powers


class Diagonal(NamedTuple):
    """A diagonal system of H channels with N complex states each.

    Attributes:
        log_z: (H, N) complex128, A dt: the logarithm of the transition per sample.
        gain: (H, N) complex128, g = (exp(A dt) - 1) / A: what one unit of input adds to a state.
        readout: (H, N) complex128, c.
        direct: (H,) float64, d.
    """

    log_z: Tensor
    gain: Tensor
    readout: Tensor
    direct: Tensor


def discretize(A: Tensor, dt: Tensor, readout: Tensor, direct: Tensor) -> Diagonal:
    """Zero-order hold of s' = A s + u at steps of dt.

    Args:
        A: (H, N) complex, real part below zero.
        dt: (H,) step.
        readout: (H, N) complex.
        direct: (H,) real.
    """
    A = A.to(torch.complex128)
    log_z = A * dt.double().unsqueeze(-1)
    return Diagonal(log_z, torch.expm1(log_z) / A, readout.to(torch.complex128), direct.double())


def kernel(system: Diagonal, length: int) -> Tensor:
    """Impulse response of each channel, (H, length) float64.

    K[l] = 2 Re Σ_n c_n g_n z_n^l + d δ[l]. With l = a m + b the powers factor into z^(a m) z^b, so one matrix product
    of (length / m, N) by (N, m) replaces the (H, N, length) tensor of all powers.
    """
    m = max(1, round(length**0.5))
    rows = -(-length // m)
    step = torch.arange(rows, device=system.log_z.device) * m
    coarse = (system.readout * system.gain).unsqueeze(-2) * powers(system.log_z, step).transpose(-1, -2)
    fine = powers(system.log_z, torch.arange(m, device=system.log_z.device))
    response = 2 * (coarse.real @ fine.real - coarse.imag @ fine.imag).flatten(-2)[..., :length]
    return torch.cat([response[..., :1] + system.direct.unsqueeze(-1), response[..., 1:]], dim=-1)


def step(u: Tensor, system: Diagonal, state: Tensor) -> tuple[Tensor, Tensor]:
    """One sample of the recurrence: u (B, H), state (B, H, N) complex -> y (B, H), state."""
    z, gain, c = (v.to(state.dtype) for v in (system.log_z.exp(), system.gain, system.readout))
    state = z * state + gain * u.unsqueeze(-1)
    return 2 * (c * state).real.sum(-1) + system.direct.to(u.dtype) * u, state


def steady_state(u: Tensor, system: Diagonal) -> Tensor:
    """The state after constant input for ever, g / (1 - z) u: u (B, H) -> (B, H, N) complex."""
    held = -system.gain / torch.expm1(system.log_z)
    return held.to(u.dtype.to_complex()) * u.unsqueeze(-1)


def scan(u: Tensor, system: Diagonal, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run the system over u (B, H, T) from state (B, H, N) complex: y (B, H, T) and the state after the last sample."""
    return kernels.scan(u, *system, state)
