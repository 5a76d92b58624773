"""Where compiled loops may run: an operator that is opaque to torch, and knows one dtype, is not for everybody."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx.kernels.backends import backend_of
from nablafx.kernels.proof import proven


def runs_compiled(*tensors: Tensor) -> bool:
    """Whether loops of numba take these: float32 on a CPU, and nobody traces, transforms or casts what is called."""
    return _is_plain("cpu", *tensors) and backend_of("cpu") == "numba"


def runs_on_device(family: str, *tensors: Tensor) -> bool:
    """As `runs_compiled`, or on another device the family's Triton kernels, which have to prove themselves there."""
    device = tensors[0].device
    if device.type == "cpu":
        return runs_compiled(*tensors)
    return _is_plain(device.type, *tensors) and backend_of(device) == "triton" and proven(family, device)


def is_followed() -> bool:
    """Whether torch.compile, a tracer or torch.func follows what is called."""
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or transformed


def _is_plain(device: str, *tensors: Tensor) -> bool:
    single = all(t.dtype == torch.float32 and t.device.type == device for t in tensors)
    return single and not (is_followed() or torch.is_autocast_enabled(device))
