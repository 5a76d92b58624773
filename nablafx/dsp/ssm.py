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
from torch.nn import functional as F

_SCAN_GROUP = 32


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
    coarse = (system.readout * system.gain).unsqueeze(-2) * _powers(system.log_z, step).transpose(-1, -2)
    fine = _powers(system.log_z, torch.arange(m, device=system.log_z.device))
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


def scan(u: Tensor, system: Diagonal, state: Tensor, block: int | None = None) -> tuple[Tensor, Tensor]:
    """Run the system over u (B, H, T) from state (B, H, N) complex: y (B, H, T) and the state after the last sample.

    Blocks of `block` samples (64, or 4 N where that is more: fastest as measured) are convolved with the first
    `block` values of the impulse response, and states carry what lies before them. All of it is matrix products,
    exact for any T, and the largest tensor is about the size of u.
    """
    block = block or max(64, 4 * system.log_z.shape[-1])
    whole = u.shape[-1] // block * block
    outputs = []
    if whole:
        y, state = _scan_blocks(u[..., :whole], system, state, block)
        outputs.append(y)
    if whole < u.shape[-1]:
        y, state = _scan_blocks(u[..., whole:], system, state, u.shape[-1] - whole)
        outputs.append(y)
    return (torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]), state


def _powers(log_z: Tensor, exponents: Tensor) -> Tensor:
    """z**l for every l: (H, N), (L,) -> (H, N, L)."""
    return torch.exp(log_z.unsqueeze(-1) * exponents)


def _scan_blocks(u: Tensor, system: Diagonal, state: Tensor, m: int) -> tuple[Tensor, Tensor]:
    powers = _powers(system.log_z, torch.arange(m + 1, device=u.device))
    driven = system.gain.unsqueeze(-1) * powers[..., :m]
    response = 2 * torch.einsum("hn,hnl->hl", system.readout, driven).real
    response = torch.cat([response[:, :1] + system.direct.unsqueeze(-1), response[:, 1:]], dim=-1)
    toeplitz = F.pad(response, (m - 1, 0)).unfold(-1, m, 1).flip(-2)
    into_state = driven.flip(-1).transpose(-1, -2)
    from_state = 2 * system.readout.unsqueeze(-1) * powers[..., 1:]

    forward = torch.cat([toeplitz, into_state.real, into_state.imag], dim=-1).to(u.dtype)
    states = system.log_z.shape[-1]
    y, added_real, added_imag = (u.unflatten(-1, (-1, m)) @ forward).split([m, states, states], dim=-1)
    added = torch.complex(added_real.contiguous(), added_imag.contiguous())
    starts, state = _starts(added, system.log_z * m, state)
    backward = torch.cat([from_state.real, -from_state.imag], dim=-2).to(u.dtype)
    y = y + torch.cat([starts.real, starts.imag], dim=-1) @ backward
    return y.flatten(-2), state


def _starts(added: Tensor, log_z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """States before each of A blocks, s[a+1] = z s[a] + added[a]: added (B, H, A, N) -> (B, H, A, N), (B, H, N)."""
    count = added.shape[-2]
    if count <= _SCAN_GROUP:
        return _starts_direct(added, log_z, state)
    whole = count // _SCAN_GROUP * _SCAN_GROUP
    groups = added[..., :whole, :].unflatten(-2, (-1, _SCAN_GROUP))
    silent = torch.zeros_like(groups[..., 0, :])
    local, ends = _starts_direct(groups, log_z, silent)
    group_starts, state = _starts(ends, log_z * _SCAN_GROUP, state)
    decay = _powers(log_z, torch.arange(_SCAN_GROUP, device=added.device)).to(added.dtype).transpose(-1, -2)
    starts = (local + decay.unsqueeze(-3) * group_starts.unsqueeze(-2)).flatten(-3, -2)
    if whole == count:
        return starts, state
    rest, state = _starts_direct(added[..., whole:, :], log_z, state)
    return torch.cat([starts, rest], dim=-2), state


def _starts_direct(added: Tensor, log_z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """As `_starts`, by one triangular matrix of powers: added (B, H, ..., A, N), state (B, H, ..., N)."""
    count = added.shape[-2]
    lag = torch.arange(count + 1, device=added.device)
    powers = _powers(log_z, lag).to(added.dtype)
    # row a holds z^(a-1-j) for j < a, and so what block j left behind by the start of block a
    strict = F.pad(powers[..., :count], (count, 0)).unfold(-1, count, 1).flip(-1)
    after = torch.einsum("hnaj,bh...jn->bh...an", strict, added)
    extra = (1,) * (added.dim() - 4)
    decay = powers.transpose(-1, -2).reshape(powers.shape[0], *extra, count + 1, -1)
    after = after + decay * state.unsqueeze(-2)
    return after[..., :count, :], after[..., count, :]
