"""The spectral distance as a torch operator, which finds its gradient along with its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nablafx.kernels.backends import backend_of, load
from nablafx.kernels.eager import is_followed
from nablafx.kernels.spectra import reference

_SHORTEST_FFT = 16  # of the compiled one on a CPU


def distance(
    prediction: Tensor, target: Tensor, windows: Sequence[Tensor], fft_sizes: Sequence[int], hop_sizes: Sequence[int]
) -> Tensor:
    """See :func:`nablafx.kernels.spectra.reference.distance`, which runs where no kernel fits, as for float64.

    Kernels know no gradient by the target, and none of second order.
    """
    arguments = (prediction, target, list(windows), list(fft_sizes), list(hop_sizes))
    if not _fits(*arguments):
        return reference.distance(*arguments)
    return _distance(*arguments, torch.is_grad_enabled() and prediction.requires_grad)[0]


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


@torch.library.custom_op("nablafx::spectral_distance", mutates_args=())
def _distance(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    device, name = prediction.device, backend_of(prediction.device)
    run = load("spectra", name).distance
    if name == "numba" and device.type != "cpu":
        prediction, target, windows = prediction.cpu(), target.cpu(), [window.cpu() for window in windows]
    value, gradient = run(prediction, target, windows, fft_sizes, hop_sizes, with_gradient)
    return value.to(device), gradient.to(device)


@_distance.register_fake
def _(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    return prediction.new_empty(()), prediction.new_empty(prediction.shape if with_gradient else (0,))


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.count = len(inputs[2])


def _differentiate(ctx: Any, grad_value: Tensor, _: Tensor) -> tuple:
    (gradient,) = ctx.saved_tensors
    return grad_value * gradient, None, [None] * ctx.count, None, None, None


_distance.register_autograd(_differentiate, setup_context=_keep)
