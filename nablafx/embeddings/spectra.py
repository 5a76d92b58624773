"""Spectrograms on mel scales, as the networks were trained with: each has its own conventions."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Scale = Literal["htk", "slaney"]
# Slaney's scale: linear up to 1 kHz, then 27 mels for a factor of 6.4
_LINEAR_HZ, _KNEE_HZ, _LOG_STEP = 200.0 / 3.0, 1000.0, math.log(6.4) / 27.0


def hz_to_mel(hz: Tensor, scale: Scale) -> Tensor:
    """htk: 1127 ln(1 + f/700); slaney: f / (200/3) up to 1 kHz, and 15 + 27 ln(f/1000) / ln 6.4 above."""
    if scale == "htk":
        return 1127.0 * torch.log1p(hz / 700.0)
    above = _KNEE_HZ / _LINEAR_HZ + torch.log(hz.clamp(min=_KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    return torch.where(hz < _KNEE_HZ, hz / _LINEAR_HZ, above)


def mel_to_hz(mel: Tensor, scale: Scale) -> Tensor:
    """The inverse of :func:`hz_to_mel`."""
    if scale == "htk":
        return 700.0 * torch.expm1(mel / 1127.0)
    knee = _KNEE_HZ / _LINEAR_HZ
    return torch.where(mel < knee, mel * _LINEAR_HZ, _KNEE_HZ * torch.exp(_LOG_STEP * (mel - knee).clamp(min=0.0)))


def mel_filters(
    sample_rate: int, fft_size: int, bands: int, low_hz: float, high_hz: float, scale: Scale = "htk"
) -> Tensor:
    """Triangles (fft_size / 2 + 1, bands), each from the centre of the band below to that of the band above.

    htk: straight on the mel axis, with the height 1, and deaf to 0 Hz (as HTK and VGGish have them). slaney: straight
    on the axis of Hz, with the area 1 (as librosa and PANNs).

    Raises:
        ValueError: the bands do not lie between 0 Hz and half the sample rate.
    """
    if not 0.0 <= low_hz < high_hz <= sample_rate / 2:
        raise ValueError(f"mel bands from {low_hz:g} to {high_hz:g} Hz; they must lie in 0 to {sample_rate / 2:g} Hz")
    lines = torch.linspace(0.0, sample_rate / 2, fft_size // 2 + 1, dtype=torch.float64)
    low_mel, high_mel = hz_to_mel(torch.tensor([low_hz, high_hz], dtype=torch.float64), scale).tolist()
    edges = torch.linspace(low_mel, high_mel, bands + 2, dtype=torch.float64)
    if scale == "htk":
        lines = hz_to_mel(lines, scale)
    else:
        edges = mel_to_hz(edges, scale)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (lines[:, None] - low) / (centre - low)
    falling = (high - lines[:, None]) / (high - centre)
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    if scale == "htk":
        filters[0] = 0.0
    else:
        filters *= 2.0 / (high - low)
    return filters.float()


def magnitudes(audio: Tensor, window: Tensor, fft_size: int, hop: int) -> Tensor:
    """|STFT| (B, frames, fft_size / 2 + 1) of audio (B, T): the first frame begins at the first sample."""
    frames = audio.unfold(-1, len(window), hop) * window
    return torch.fft.rfft(frames, fft_size).abs()


def powers(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """|STFT|² (B, frames, len(window) / 2 + 1) of audio (B, T): the first frame is centred on the first sample.

    Audio is mirrored at its ends, so it has to be longer than half a window.
    """
    spectrum = torch.stft(audio, len(window), hop, window=window, center=True, pad_mode="reflect", return_complex=True)
    return spectrum.abs().square().transpose(1, 2)


def decibels(powers: Tensor) -> Tensor:
    """10 log10 of powers, not below -100 dB."""
    return 10.0 * torch.log10(powers.clamp(min=1e-10))
