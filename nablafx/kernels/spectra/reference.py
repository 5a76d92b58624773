"""What the kernels compute, in plain torch: the oracle of the other backends, and what runs in their stead.

Shapes that all backends share:
    prediction, target: (R, T), T more than half of every FFT.
    windows, fft_sizes, hop_sizes: a resolution each; windows (W,), W at most the size of their FFT. Frames are centred,
        the ends of the audio reflected.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FLOOR = 1e-8  # least power of a bin


def measure(
    prediction: Tensor, target: Tensor, windows: Sequence[Tensor], fft_sizes: Sequence[int], hop_sizes: Sequence[int]
) -> Tensor:
    """Of each of K resolutions, over all bins: Σ (|S| - |Ŝ|)², Σ |S|², Σ | log|S| - log|Ŝ| |, their number; (K, 4).

    S and Ŝ are the short-time spectra of target and prediction, with bins of FLOOR in power at least.

    The other backends return them in float64, and along with them the gradient of their `value` by the prediction,
    (R, T); none, (0,), where not asked for. What is `joined` is the sums of all processes, and the gradient of their
    value as :func:`nablafx.processes.summed` has it.
    """
    sums = []
    for window, fft_size, hop in zip(windows, fft_sizes, hop_sizes, strict=True):
        told, wanted = (_magnitudes(x, window, fft_size, hop) for x in (prediction, target))
        ratio = (wanted.log() - told.log()).abs().sum()
        number = torch.full_like(ratio, told.numel())
        sums.append(torch.stack([(wanted - told).square().sum(), wanted.square().sum(), ratio, number]))
    return torch.stack(sums)


def value(sums: Tensor) -> Tensor:
    """Mean over resolutions of ‖ |S| - |Ŝ| ‖_F / ‖ |S| ‖_F + mean | log|S| - log|Ŝ| |, a scalar, of sums (K, 4)."""
    off, energy, ratio, number = sums.unbind(-1)
    # where nothing is off the root has no slope; it would make one that is no number
    root = torch.where(off == 0, off, off.masked_fill(off == 0, 1.0).sqrt())
    return (root / energy.sqrt() + ratio / number).mean()


def distance(
    prediction: Tensor, target: Tensor, windows: Sequence[Tensor], fft_sizes: Sequence[int], hop_sizes: Sequence[int]
) -> Tensor:
    """The value of what is measured."""
    return value(measure(prediction, target, windows, fft_sizes, hop_sizes))


def _magnitudes(x: Tensor, window: Tensor, fft_size: int, hop: int) -> Tensor:
    spectrum = torch.stft(x, fft_size, hop, len(window), window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=FLOOR).sqrt()
