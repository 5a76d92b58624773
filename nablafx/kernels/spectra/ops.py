"""The spectral distance as a torch operator, which finds its gradient along with its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nablafx import processes
from nablafx.kernels.backends import backend_of, load
from nablafx.kernels.eager import is_followed
from nablafx.kernels.spectra import reference

_SHORTEST_FFT = 16  # of the compiled one on a CPU


def distance(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    joined: bool = False,
) -> Tensor:
    """See :func:`nablafx.kernels.spectra.reference.value`; the reference runs where no kernel fits, as for float64.

    Kernels know no gradient by the target, and none of second order.
    joined: of the audio of all processes, with the gradient of :func:`nablafx.processes.summed`.
    """
    arguments = (prediction, target, list(windows), list(fft_sizes), list(hop_sizes))
    # processes exchange what lies where they run, and numba's sums would not
    is_moved = prediction.device.type != "cpu" and backend_of(prediction.device) == "numba"
    if not _fits(*arguments) or (joined and is_moved):
        sums = reference.measure(*arguments)
        return reference.value(processes.summed(sums) if joined else sums)
    return _distance(*arguments, joined, torch.is_grad_enabled() and prediction.requires_grad)[0]


def measure(
    prediction: Tensor, target: Tensor, windows: Sequence[Tensor], fft_sizes: Sequence[int], hop_sizes: Sequence[int]
) -> Tensor:
    """See :func:`nablafx.kernels.spectra.reference.measure`; without a gradient."""
    arguments = (prediction.detach(), target.detach(), list(windows), list(fft_sizes), list(hop_sizes))
    return _run(*arguments, False, False)[0] if _fits(*arguments) else reference.measure(*arguments)


def _fits(
    prediction: Tensor, target: Tensor, windows: Sequence[Tensor], fft_sizes: Sequence[int], hop_sizes: Sequence[int]
) -> bool:
    if is_followed():
        return False
    tensors = (prediction, target, *windows)
    alike = all(t.dtype == torch.float32 and t.device == prediction.device for t in tensors)
    if not alike or target.requires_grad or prediction.device.type not in ("cpu", "cuda"):
        return False
    powers_of_two = all(size >= _SHORTEST_FFT and size & (size - 1) == 0 for size in fft_sizes)
    return {"numba": powers_of_two, "triton": True, "torch": False}[backend_of(prediction.device)]


def _run(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    joined: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    device, name = prediction.device, backend_of(prediction.device)
    run = load("spectra", name).measure
    if name == "numba" and device.type != "cpu":
        prediction, target, windows = prediction.cpu(), target.cpu(), [window.cpu() for window in windows]
    sums, gradient = run(prediction, target, windows, fft_sizes, hop_sizes, with_gradient, joined)
    return sums.to(device), gradient.to(device)


@torch.library.custom_op("nablafx::spectral_distance", mutates_args=())
def _distance(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    joined: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    sums, gradient = _run(prediction, target, windows, fft_sizes, hop_sizes, joined, with_gradient)
    return reference.value(sums).to(prediction.dtype), gradient


@_distance.register_fake
def _(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    joined: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    return prediction.new_empty(()), prediction.new_empty(prediction.shape if with_gradient else (0,))


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.count = len(inputs[2])


def _differentiate(ctx: Any, grad_value: Tensor, _: Tensor) -> tuple:
    (gradient,) = ctx.saved_tensors
    return grad_value * gradient, None, [None] * ctx.count, None, None, None, None


_distance.register_autograd(_differentiate, setup_context=_keep)
