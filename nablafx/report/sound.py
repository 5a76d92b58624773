"""Audio of a page: small, exact to 16 bits, and of one loudness where one listens."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
import torch

from nablafx.analysis import integrated_loudness

FULL_SCALE = 1.0 - 2.0**-15
BINS = 400  # of a waveform


def flac(audio: np.ndarray, sample_rate: int) -> str:
    """Audio (T,) as base64 of a 16-bit FLAC file, which every browser reads; what is above full scale is clipped."""
    target = io.BytesIO()
    soundfile.write(target, np.clip(audio, -1.0, FULL_SCALE), sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(target.getvalue()).decode()


def peaks(audio: np.ndarray, bins: int = BINS) -> list[int]:
    """The largest |audio| of each of `bins` stretches of (T,), in hundredths of full scale."""
    edges = np.linspace(0, len(audio), bins + 1).astype(int)[:-1]
    return np.ceil(100 * np.maximum.reduceat(np.abs(audio), edges)).astype(int).tolist() if len(audio) >= bins else []


def loudness_of(audio: np.ndarray, sample_rate: int) -> float:
    """LUFS of (T,)."""
    return integrated_loudness(torch.from_numpy(audio), sample_rate)


def matching_gains(tracks: Mapping[Any, np.ndarray], reference: Any, sample_rate: int) -> dict[Any, float]:
    """dB for each track (T,) that give all the integrated loudness of the reference (ITU-R BS.1770).

    Where one would clip, all are lowered together; a silent track stays as it is.
    """
    loudness = {name: loudness_of(audio, sample_rate) for name, audio in tracks.items()}
    gains, highest = {}, 0.0
    for name, audio in tracks.items():
        gain = loudness[reference] - loudness[name]
        gains[name] = gain if math.isfinite(gain) else 0.0
        highest = max(highest, 20 * math.log10(max(float(np.abs(audio).max()), 1e-9)) + gains[name])
    return {name: gain - highest for name, gain in gains.items()}
