"""Where compiled loops may run: an operator that is opaque to torch, and knows one dtype, is not for everybody."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx.kernels.backends import backend_of


def runs_compiled(*tensors: Tensor) -> bool:
    """Whether loops of numba take these: float32 on a CPU, and nobody traces, transforms or casts what is called."""
    return is_plain("cpu", *tensors) and backend_of("cpu") == "numba"


def is_plain(device: str, *tensors: Tensor) -> bool:
    """Whether these are float32 on such a device, and nobody traces, transforms or casts what is called."""
    single = all(t.dtype == torch.float32 and t.device.type == device for t in tensors)
    return single and not (is_followed() or torch.is_autocast_enabled(device))


def is_followed() -> bool:
    """Whether torch.compile, a tracer or torch.func follows what is called."""
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or transformed
