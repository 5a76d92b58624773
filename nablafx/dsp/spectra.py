"""What pairs of recordings tell of the linear part between them."""

from __future__ import annotations

import torch
from torch import Tensor

_WINDOW = 4096
# of the loudest band: what is quieter is the noise of the recording
_FLOOR_DB = 70.0


def linear_response(x: Tensor, y: Tensor, freqs_hz: Tensor, sample_rate: float) -> tuple[Tensor, Tensor]:
    """Gain of y over x, |S_xy| / S_xx, in bands of a third of an octave.

    Args:
        x, y: (B, 1, T).
        freqs_hz: (F,) centres of the bands.

    Returns:
        The gain in dB (F,), and whether x has energy there (F,). Welch's method: windows of 4096 samples by Hann, half
        overlapping.
    """
    size = min(_WINDOW, x.shape[-1])
    window = torch.hann_window(size, dtype=x.dtype, device=x.device)
    spectra = [torch.stft(t.flatten(0, 1), size, window=window, center=False, return_complex=True) for t in (x, y)]
    cross, power = ((spectra[k] * spectra[0].conj()).sum((0, 2)) for k in (1, 0))
    bins = torch.arange(size // 2 + 1, device=x.device) * (sample_rate / size)
    ratio = 2 ** (1 / 6)
    within = (bins > freqs_hz.unsqueeze(-1) / ratio) & (bins <= freqs_hz.unsqueeze(-1) * ratio)
    # a band narrower than a bin has the nearest one
    nearest = (bins - freqs_hz.unsqueeze(-1)).abs().argmin(-1, keepdim=True)
    within = within.scatter(1, nearest, True).double()
    energy, common = within @ power.real.double(), within @ cross.abs().double()
    is_there = energy > energy.max() * 10 ** (-_FLOOR_DB / 10)
    gain = common.clamp(min=1e-30) / energy.clamp(min=1e-30)
    return 20 * torch.log10(gain), is_there & (common > 0)


def least_squares_taps(x: Tensor, y: Tensor, count: int) -> Tensor | None:
    """Causal taps (count,) float64 that make of x what comes nearest to y, both (B, 1, T); None where x is silent.

    The normal equations of Wiener's filter, with a floor of -40 dB beneath x: what x does not hold is not made up.
    """
    size = 2 * x.shape[-1]
    spectra = [torch.fft.rfft(track.double().flatten(0, 1), size) for track in (x, y)]
    own, cross = (torch.fft.irfft((spectra[0].conj() * other).sum(0), size)[:count] for other in spectra)
    if len(own) < count or not own[0] > 0:
        return None
    own[0] *= 1 + 1e-4
    lags = torch.arange(count, device=x.device)
    return torch.linalg.solve(own[(lags.unsqueeze(0) - lags.unsqueeze(1)).abs()], cross)
