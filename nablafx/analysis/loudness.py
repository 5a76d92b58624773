"""How loud audio is, and how far its peaks stand out.

Here and not in dsp/, for these are readings and not parts of a model: numbers, without gradients.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nablafx.dsp.filtering import sosfilt

STEP = 4096  # samples between the places that the loudest stretch may begin at: whole blocks of any control rate
QUIETEST_LUFS = -70.0
"""The absolute gate: what is quieter is silence."""
_RELATIVE_GATE = 0.1  # of the mean power: -10 LU
_OFFSET_LU = -0.691  # makes a sine of 997 Hz and 0 dBFS -3.01, whatever K-weighting adds there
_HOP_S = 0.1
_HOPS = 4  # a block of 400 ms, three quarters of it shared with the next
_PIECE_HOPS = 600  # a minute is filtered at once, so that memory does not grow with the audio


class _Section(NamedTuple):
    """(high s² + middle s + low) / (s² + s/q + 1), its corner at 1 rad/s."""

    corner_hz: float
    q: float
    high: float
    middle: float
    low: float


# BS.1770 gives numbers for 48 kHz only. These are the analogue sections that the bilinear transform makes them of, its
# scale such that the corner stays in its place; they give the numbers of the standard back to 1e-13.
_SHELF = _Section(1681.974450955532, 0.7071752369554194, 1.5848647011308556, 1.779927894041787, 1.0)
_HIGHPASS = _Section(38.13547087611, 0.500327037325, 1.0049948987147, 0.0, 0.0)
_MAX_CORNER = 0.49  # of the sample rate, as in dsp.biquad


def k_weighting(sample_rate: float) -> Tensor:
    """K-weighting of ITU-R BS.1770 at any sample rate: sections (2, 6) in scipy's order, float64.

    A shelf of 4 dB above 1.7 kHz, for the head, and a high-pass at 38 Hz. Below 3.4 kHz of sample rate, where the
    shelf's corner would lie beyond the audio, it is taken for 0.49 of it.
    """
    return torch.tensor([_digital(section, sample_rate) for section in (_SHELF, _HIGHPASS)], dtype=torch.float64)


def integrated_loudness(audio: Tensor, sample_rate: int) -> float:
    """Loudness of a whole programme in LUFS, after ITU-R BS.1770-4 (2015) and -5 (2023).

    Mean power of the K-weighted audio over blocks of 400 ms, one every 100 ms, without those below -70 LUFS, and
    then without those more than 10 LU below the loudness of the rest. Samples after the last whole block are not
    heard; audio shorter than a block is one block, as long as it is.

    Args:
        audio: (C, T) or (T,), full scale 1. Channels weigh the same: mono and stereo are as in the standard, whose 1.41
            for surround channels is not known here.
        sample_rate: Hz.

    Returns:
        LUFS: -inf where every block is below -70, NaN where a sample is not finite.

    Raises:
        ValueError: the audio has another shape, or no samples.
    """
    if audio.dim() not in (1, 2) or not audio.numel():
        raise ValueError(f"integrated_loudness: needs audio (C, T) or (T,) with samples, got {tuple(audio.shape)}")
    power = _powers(audio.detach().cpu().reshape(-1, audio.shape[-1]), sample_rate)
    if not power.isfinite().all():
        return math.nan
    heard = power[power > 10 ** ((QUIETEST_LUFS - _OFFSET_LU) / 10)]
    if not len(heard):
        return -math.inf
    kept = heard[heard > _RELATIVE_GATE * heard.mean()]
    return _OFFSET_LU + 10 * math.log10(float(kept.mean()))


def crest_factor_db(audio: Tensor) -> float:
    """20 log10 of the peak over the RMS of all samples, dB: 0 for a square, 3.01 for a sine, NaN for silence."""
    samples = audio.detach().cpu().double()
    peak, rms = float(samples.abs().max()), float(samples.square().mean().sqrt())
    return 20 * math.log10(peak / rms) if 0 < peak < math.inf and rms > 0 else math.nan


def _digital(section: _Section, sample_rate: float) -> list[float]:
    """[b0 b1 b2 1 a1 a2] of a section, by the bilinear transform that leaves its corner in its place."""
    g = math.tan(math.pi * min(section.corner_hz / sample_rate, _MAX_CORNER))
    scaled = (section.high, section.middle * g, section.low * g**2, 1.0, g / section.q, g**2)
    (b0, b1, b2), (a0, a1, a2) = (
        (high + middle + low, 2 * (low - high), high - middle + low) for high, middle, low in (scaled[:3], scaled[3:])
    )
    return [b0 / a0, b1 / a0, b2 / a0, 1.0, a1 / a0, a2 / a0]


def _powers(audio: Tensor, sample_rate: int) -> Tensor:
    """Power of each block of K-weighted audio (C, T), summed over the channels: (N,) float64."""
    hop, length = max(round(_HOP_S * sample_rate), 1), audio.shape[-1]
    sections, state, energies = k_weighting(sample_rate)[None, None], None, []
    for piece in audio.split(_PIECE_HOPS * hop, dim=-1):
        y, state = sosfilt(piece[None].double(), sections, state)
        if length < _HOPS * hop:
            return y.square().sum(dim=(0, 1, 2)).div(length).view(1)
        whole = y.shape[-1] // hop * hop
        energies.append(y[0, :, :whole].reshape(len(audio), -1, hop).square().sum(dim=(0, 2)))
    return torch.cat(energies).unfold(0, _HOPS, 1).sum(dim=-1) / (_HOPS * hop)


def loudest(y: Tensor, length: int, hop: int = STEP) -> int:
    """Where the `length` samples of y (T,) with the most energy begin, at multiples of `hop`."""
    if len(y) <= length:
        return 0
    energy = torch.cat([torch.zeros(1, dtype=torch.float64), y.double().square().cumsum(0)])
    starts = torch.arange(0, len(y) - length + 1, hop)
    return int(starts[(energy[starts + length] - energy[starts]).argmax()])
