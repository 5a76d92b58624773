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


def distance(
    prediction: Tensor, target: Tensor, windows: Sequence[Tensor], fft_sizes: Sequence[int], hop_sizes: Sequence[int]
) -> Tensor:
    """Mean over resolutions of ‖ |S| - |Ŝ| ‖_F / ‖ |S| ‖_F + mean | log|S| - log|Ŝ| |, a scalar.

    S and Ŝ are the short-time spectra of target and prediction, with bins of FLOOR in power at least.

    The other backends return its gradient by the prediction along with it, (R, T); none, (0,), where not asked for.
    """
    values = []
    for window, fft_size, hop in zip(windows, fft_sizes, hop_sizes, strict=True):
        told, wanted = (_magnitudes(x, window, fft_size, hop) for x in (prediction, target))
        convergence = torch.linalg.vector_norm(wanted - told) / torch.linalg.vector_norm(wanted)
        values.append(convergence + (wanted.log() - told.log()).abs().mean())
    return torch.stack(values).mean()


def _magnitudes(x: Tensor, window: Tensor, fft_size: int, hop: int) -> Tensor:
    spectrum = torch.stft(x, fft_size, hop, len(window), window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=FLOOR).sqrt()
