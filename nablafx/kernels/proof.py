"""Whether the Triton kernels of a family do on a device what the reference does.

No GPU is like all others, nor is a driver or a compiler. Kernels that cannot run on one, or are wrong there, must not
train a net: before a family is used for the first time on a device it has to pass a trial.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.backends import load

# of the largest value: TF32, where torch is told to use it, leaves a tenth of it, and a wrong kernel orders more
_TOLERANCE = 5e-3


def proven(family: str, device: torch.device | str) -> bool:
    """Whether the kernels of a family may be used on a device; warns once where they may not.

    The family's module `trial` has `calls()`: functions of its backends by name, and arguments on the CPU.
    """
    return _passes(family, str(torch.device(device)))


@cache
def _passes(family: str, device: str) -> bool:
    with torch.inference_mode(False), torch.no_grad():
        try:
            complaint = _complaint(family, device)
        except Exception as error:  # whatever compilers, drivers and launches raise: the reference does without them
            complaint = f"raise {type(error).__name__} ({error})"
    if complaint:
        warnings.warn(
            f"the Triton kernels of {family} {complaint} on {_name(device)}; plain torch runs in their place, "
            "with the same results but slower (NABLAFX_KERNELS=torch chooses it without this trial)",
            RuntimeWarning,
            stacklevel=3,
        )
    return not complaint


def _complaint(family: str, device: str) -> str:
    """What differs most from the reference, in words; empty where nothing differs."""
    kernels, reference = load(family, "triton"), load(family, "torch")
    worst, where = 0.0, ""
    for function, arguments in import_module(f"nablafx.kernels.{family}.trial").calls():
        found = _results(getattr(kernels, function), arguments, device)
        exact = [_exact(a) if isinstance(a, Tensor) else a for a in arguments]
        expected = _results(getattr(reference, function), exact, "cpu")
        for ours, theirs in zip(found, expected, strict=True):
            difference = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-9))
            if math.isnan(difference):
                return f"make what is no number (in {function})"
            if difference > worst:
                worst, where = difference, function
    return "" if worst <= _TOLERANCE else f"differ from the reference (in {where} by {worst:.1e} of the largest value)"


def _results(function: Any, arguments: Any, device: str) -> list[Tensor]:
    """What a function gives for arguments moved to a device, in float64 on the CPU."""
    given = [a.to(device) if isinstance(a, Tensor) else a for a in arguments]
    results = function(*given)
    results = (results,) if isinstance(results, Tensor) else results
    return [_exact(result).cpu() for result in results if result is not None]


def _exact(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _name(device: str) -> str:
    known = device.startswith("cuda") and torch.cuda.is_available()
    return f"{device} ({torch.cuda.get_device_name(device)})" if known else device
