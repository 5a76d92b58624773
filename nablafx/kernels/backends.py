"""Which implementation runs where."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from nablafx.errors import UserError

_VARIABLE = "NABLAFX_KERNELS"
_MODULES = {"numba": "cpu", "triton": "cuda", "torch": "reference"}


def backend_of(device: torch.device | str) -> str:
    """The backend that filters audio on a device: numba, triton or torch.

    On CUDA without Triton numba runs, on a copy in the memory of the CPU. NABLAFX_KERNELS names another one.

    Raises:
        UserError: NABLAFX_KERNELS is none of them, or Triton is asked for where it is not installed.
    """
    forced = os.environ.get(_VARIABLE)
    if forced:
        if forced not in _MODULES:
            raise UserError(f"{_VARIABLE} is {forced!r}; it needs one of {', '.join(_MODULES)}, or not to be set")
        if forced == "triton" and not _has_triton():
            raise UserError(f"{_VARIABLE} asks for triton, which is not installed here; unset it")
        return forced
    return "triton" if torch.device(device).type == "cuda" and _has_triton() else "numba"


def describe(device: torch.device | str) -> str:
    """What filters audio on a device, in words: "numba on 2 threads, compiled once"."""
    name = backend_of(device)
    where = {"numba": f" on {torch.get_num_threads()} threads, compiled once", "triton": ", compiled once"}
    return name + where.get(name, "")


def on_cpu(run: Callable[..., tuple[Tensor, ...]], device: torch.device, *arguments: Any) -> tuple[Tensor, ...]:
    """What `run`, which knows CPUs only, makes of the arguments: of tensors on another device by copies, and back."""
    if device.type == "cpu":
        return run(*arguments)
    moved = [a.cpu() if isinstance(a, Tensor) else a for a in arguments]
    return tuple(result.to(device) for result in run(*moved))


@cache
def load(family: str, name: str) -> Any:
    """The module of a backend in a family of kernels, such as `filters`, imported when it is first used."""
    return import_module(f"nablafx.kernels.{family}.{_MODULES[name]}")


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
