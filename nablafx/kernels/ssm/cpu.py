"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.ssm.reference` for what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from nablafx.kernels.memory import array, copied
from nablafx.kernels.ssm.loops import HALF, LANES, backward, forward
from nablafx.kernels.threads import share


def block_size(states: int) -> int:
    """Samples of a block: fastest as measured."""
    return 32 if states <= HALF else 64


def starts_shape(audio: Sequence[int], states: int) -> tuple[int, int, int, int]:
    """Of the states before all blocks of audio (B, H, T), in groups of complex numbers."""
    batch, channels, length = audio
    m = block_size(states)
    return batch, channels, (length + m - 1) // m, (states + HALF - 1) // HALF * LANES


def scan(
    u: Tensor, log_z: Tensor, gain: Tensor, readout: Tensor, direct: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the state after the last sample, and those before all blocks."""
    states = log_z.shape[1]
    y, starts = torch.empty(u.shape), torch.empty(starts_shape(u.shape, states))
    after = copied(state)
    arrays = [array(t) for t in (u, log_z, gain, readout, direct, after, y, starts)]
    share(u.shape[1], partial(forward, *arrays, block_size(states)))
    return y, after, starts


def scan_backward(
    grad_y: Tensor,
    grad_state: Tensor,
    u: Tensor,
    log_z: Tensor,
    gain: Tensor,
    readout: Tensor,
    direct: Tensor,
    starts: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, log_z, gain, readout, direct and the state."""
    grad_u = torch.empty(u.shape)
    before = copied(grad_state)
    grads = [torch.zeros(log_z.shape, dtype=torch.complex128) for _ in range(3)]
    grad_direct = torch.zeros(direct.shape, dtype=torch.float64)
    given = [array(t) for t in (grad_y, u, log_z, gain, readout, direct, starts)]
    made = [array(t) for t in (grad_u, before, *grads, grad_direct)]
    share(u.shape[1], partial(backward, *given, *made, block_size(log_z.shape[1])))
    return grad_u, *grads, grad_direct, before  # type: ignore[return-value]
