"""The kernels as torch operators with gradients, and the choice between them and plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.backends import backend_of, load
from nablafx.kernels.eager import runs_on_device
from nablafx.kernels.ssm import reference

_MOST_STATES = 64  # of CUDA's kernels, whose tables would find no room for more
_LONGEST = 2**31 - 64  # samples that they count to


def scan(
    u: Tensor, log_z: Tensor, gain: Tensor, readout: Tensor, direct: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the systems: see :func:`nablafx.kernels.ssm.reference.scan`."""
    if torch.is_autocast_enabled(u.device.type):
        # states turn by an angle that grows with every sample: lower precision loses it
        with torch.autocast(u.device.type, enabled=False):
            return scan(u.float(), log_z, gain, readout, direct, state)
    system = (log_z, gain, readout, direct)
    exact = {t.dtype for t in system} == {torch.complex128, torch.float64} and state.dtype == torch.complex64
    if not (exact and _has_room(u, log_z.shape[-1]) and runs_on_device("ssm", u)):
        return reference.scan(u, *system, state)
    # compiled loops would read beyond the end
    channels, states = log_z.shape
    if u.shape[1] != channels or {log_z.shape, gain.shape, readout.shape} != {(*direct.shape, states)}:
        raise ValueError(f"scan: {u.shape[1]} channels of audio met systems of {[tuple(t.shape) for t in system]}")
    y, after, _ = _scan(u, *system, state.expand(u.shape[0], channels, states))
    return y, after


def _has_room(u: Tensor, states: int) -> bool:
    return u.device.type == "cpu" or (states <= _MOST_STATES and u.shape[-1] <= _LONGEST)


@torch.library.custom_op("nablafx::ssm_scan", mutates_args=())
def _scan(
    u: Tensor, log_z: Tensor, gain: Tensor, readout: Tensor, direct: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the state after the last sample, and, for the backward pass, those before all blocks."""
    return load("ssm", backend_of(u.device)).scan(u, log_z, gain, readout, direct, state)


@_scan.register_fake
def _(
    u: Tensor, log_z: Tensor, gain: Tensor, readout: Tensor, direct: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    starts = load("ssm", backend_of(u.device)).starts_shape(u.shape, log_z.shape[1])
    return u.new_empty(u.shape), state.new_empty(state.shape), u.new_empty(starts)


@torch.library.custom_op("nablafx::ssm_scan_backward", mutates_args=())
def _scan_backward(
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
    return load("ssm", backend_of(u.device)).scan_backward(grad_y, grad_state, u, log_z, gain, readout, direct, starts)


@_scan_backward.register_fake
def _(
    grad_y: Tensor,
    grad_state: Tensor,
    u: Tensor,
    log_z: Tensor,
    gain: Tensor,
    readout: Tensor,
    direct: Tensor,
    starts: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (u, log_z, gain, readout, direct, grad_state)
    return tuple(t.new_empty(t.shape) for t in given)  # type: ignore[return-value]


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    *system, _ = inputs
    # gradients of nothing would be zeros of the size of what is kept
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*system, *output[1:])


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None, _: None) -> tuple:
    *system, after, starts = ctx.saved_tensors
    given = ((grad_y, system[0]), (grad_state, after))
    grads = [torch.zeros_like(of) if grad is None else grad for grad, of in given]
    return tuple(_scan_backward(*grads, *system, starts))


_scan.register_autograd(_differentiate, setup_context=_keep)
