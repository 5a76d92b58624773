"""What the kernels compute, by matrix products of plain torch.

Shapes that all backends share:
    u, y: (B, H, T), T at least 1; state: (B, H, N) complex, of the precision of u.
    log_z, gain, readout: (H, N) complex128; direct: (H,) float64.

        s[t] = exp(log_z) s[t-1] + gain u[t],    y[t] = 2 Re(Σ_n readout_n s_n[t]) + direct u[t]
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_GROUP = 32


def powers(log_z: Tensor, exponents: Tensor) -> Tensor:
    """z**l for every l: (H, N), (L,) -> (H, N, L)."""
    return torch.exp(log_z.unsqueeze(-1) * exponents)


def scan(
    u: Tensor,
    log_z: Tensor,
    gain: Tensor,
    readout: Tensor,
    direct: Tensor,
    state: Tensor,
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the systems: y and the state after the last sample.

    Blocks of `block` samples (64, or 4 N where that is more: fastest as measured) are convolved with the first
    `block` values of the impulse response, and states carry what lies before them. All of it is matrix products,
    exact for any T, and the largest tensor is about the size of u.
    """
    block = block or max(64, 4 * log_z.shape[-1])
    system = (log_z, gain, readout, direct)
    whole = u.shape[-1] // block * block
    outputs = []
    if whole:
        y, state = _scan_blocks(u[..., :whole], *system, state, block)
        outputs.append(y)
    if whole < u.shape[-1]:
        y, state = _scan_blocks(u[..., whole:], *system, state, u.shape[-1] - whole)
        outputs.append(y)
    return (torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]), state


def answers(
    grad_y: Tensor,
    grad_state: Tensor,
    u: Tensor,
    log_z: Tensor,
    gain: Tensor,
    readout: Tensor,
    direct: Tensor,
    state: Tensor,
) -> tuple[Tensor, ...]:
    """y, the state after the last sample, and gradients by all arguments."""
    arguments = u, log_z, gain, readout, direct, state = [
        t.detach().requires_grad_() for t in (u, log_z, gain, readout, direct, state)
    ]
    with torch.enable_grad():
        outputs = scan(u, log_z, gain, readout, direct, state)
        grads = torch.autograd.grad(outputs, arguments, (grad_y, grad_state))
    return *(t.detach() for t in outputs), *grads


def _scan_blocks(
    u: Tensor, log_z: Tensor, gain: Tensor, readout: Tensor, direct: Tensor, state: Tensor, m: int
) -> tuple[Tensor, Tensor]:
    turns = powers(log_z, torch.arange(m + 1, device=u.device))
    driven = gain.unsqueeze(-1) * turns[..., :m]
    response = 2 * torch.einsum("hn,hnl->hl", readout, driven).real
    response = torch.cat([response[:, :1] + direct.unsqueeze(-1), response[:, 1:]], dim=-1)
    toeplitz = F.pad(response, (m - 1, 0)).unfold(-1, m, 1).flip(-2)
    into_state = driven.flip(-1).transpose(-1, -2)
    from_state = 2 * readout.unsqueeze(-1) * turns[..., 1:]

    forward = torch.cat([toeplitz, into_state.real, into_state.imag], dim=-1).to(u.dtype)
    states = log_z.shape[-1]
    y, added_real, added_imag = (u.unflatten(-1, (-1, m)) @ forward).split([m, states, states], dim=-1)
    added = torch.complex(added_real.contiguous(), added_imag.contiguous())
    starts, state = _starts(added, log_z * m, state)
    backward = torch.cat([from_state.real, -from_state.imag], dim=-2).to(u.dtype)
    y = y + torch.cat([starts.real, starts.imag], dim=-1) @ backward
    return y.flatten(-2), state


def _starts(added: Tensor, log_z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """States before each of A blocks, s[a+1] = z s[a] + added[a]: added (B, H, A, N) -> (B, H, A, N), (B, H, N)."""
    count = added.shape[-2]
    if count <= _GROUP:
        return _starts_direct(added, log_z, state)
    whole = count // _GROUP * _GROUP
    groups = added[..., :whole, :].unflatten(-2, (-1, _GROUP))
    silent = torch.zeros_like(groups[..., 0, :])
    local, ends = _starts_direct(groups, log_z, silent)
    group_starts, state = _starts(ends, log_z * _GROUP, state)
    decay = powers(log_z, torch.arange(_GROUP, device=added.device)).to(added.dtype).transpose(-1, -2)
    starts = (local + decay.unsqueeze(-3) * group_starts.unsqueeze(-2)).flatten(-3, -2)
    if whole == count:
        return starts, state
    rest, state = _starts_direct(added[..., whole:, :], log_z, state)
    return torch.cat([starts, rest], dim=-2), state


def _starts_direct(added: Tensor, log_z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """As `_starts`, by one triangular matrix of powers: added (B, H, ..., A, N), state (B, H, ..., N)."""
    count = added.shape[-2]
    lag = torch.arange(count + 1, device=added.device)
    turns = powers(log_z, lag).to(added.dtype)
    # row a holds z^(a-1-j) for j < a, and so what block j left behind by the start of block a
    strict = F.pad(turns[..., :count], (count, 0)).unfold(-1, count, 1).flip(-1)
    after = torch.einsum("hnaj,bh...jn->bh...an", strict, added)
    extra = (1,) * (added.dim() - 4)
    decay = turns.transpose(-1, -2).reshape(turns.shape[0], *extra, count + 1, -1)
    after = after + decay * state.unsqueeze(-2)
    return after[..., :count, :], after[..., count, :]
