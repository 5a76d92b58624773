"""Delay and polarity of a wet recording against its dry one.

The cross-correlation says where wet lies to within what a device's filters move it. The phase says the rest: filters of
circuits have the least phase that their magnitude allows, so that what the phase of the transfer function has beyond
that, and grows with frequency, is delay: excess phase, Oppenheim and Schafer, Discrete-Time Signal Processing, 5.6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Set on fuzz, overdrive, preamp and compressor recordings of known latency and polarity, and on filters,
# echoes, reverbs and unrelated audio, so that a doubtful case stays unsaid.
WIDEST_S = 0.5  # delays looked for, either way
_NEAR_S = 0.002  # what belongs to one peak
_MOVED_S = 1 / 3000  # by which tone filters alone may move the peak
_CLEAR = 0.15  # least correlation of a peak; unrelated recordings reach 0.05
_RIVAL = 0.6  # highest second peak elsewhere, as a share of the peak; a steady tone has more
_FRAME = 2048  # samples of the spectra that are averaged
_COHERENT = 0.1  # least coherence of a frequency that counts
_LEAST_BINS = 10
_MOST_WEIGHT = 100.0
_FINE = 64  # samples around the peak in which the phase is asked
_AGREES = 0.6  # least share of the coherent spectrum that a delay explains
_LOWEST_HZ = 40.0
_OCTAVE_THIRD = 1 / 3


class Alignment(NamedTuple):
    """Where wet lies against dry.

    Attributes:
        delay: samples that wet is late; None where it is not clear.
        inverted: None where it is not clear.
        correlation: of the weighted spectra at the peak, signed.
    """

    delay: float | None
    inverted: bool | None
    correlation: float


class _Peak(NamedTuple):
    lag: int
    value: float
    rival: float
    opposite: float


class Spectra(NamedTuple):
    """X* Y and |X|^2, of transforms of `size` samples."""

    cross: np.ndarray
    dry_power: np.ndarray
    size: int


class Fine(NamedTuple):
    """A delay in samples, and the sign of wet there."""

    delay: float
    sign: int


def align(dry: np.ndarray, wet: np.ndarray, rate: int, spectra: Spectra | None = None) -> Alignment:
    """Estimate how wet (N,) lies against dry (N,), both at `rate` Hz.

    Plain correlation of pitched notes has a peak at every period. The cross-spectrum X* Y / |X Y|^p, p below
    1, evens out the harmonics; p = 0.7 places the peak best, p = 0.5 keeps the low notes that carry the
    polarity. A figure is given only where both agree and no other peak comes near.
    """
    spectra = spectra or spectra_of(dry, wet, rate)
    place, sign = (_peak(spectra, power, rate) for power in (0.7, 0.5))
    clear = abs(place.value) >= _CLEAR and place.rival <= _RIVAL and sign.rival <= _RIVAL
    agree = place.value * sign.value > 0 and abs(place.lag - sign.lag) <= _MOVED_S * rate
    if not clear or not agree:
        return Alignment(None, None, sign.value)
    certain = sign.opposite <= 0.85 and place.opposite <= 0.95
    fine = fine_delay(dry, wet, rate, place.lag)
    if fine:
        certain = certain and fine.sign * sign.value > 0
        return Alignment(fine.delay, sign.value < 0 if certain else None, sign.value)
    delayed = abs(place.lag) >= _MOVED_S * rate and (place.opposite <= 0.9 or abs(place.lag) > _NEAR_S * rate)
    return Alignment(float(place.lag) if delayed else None, sign.value < 0 if certain else None, sign.value)


def spectra_of(dry: np.ndarray, wet: np.ndarray, rate: int) -> Spectra:
    """Of both recordings as wholes, with room for the widest delay."""
    size = 1 << int(len(dry) + WIDEST_S * rate).bit_length()
    dry_spectrum = np.fft.rfft(dry - dry.mean(), size)
    cross = np.conj(dry_spectrum) * np.fft.rfft(wet - wet.mean(), size)
    return Spectra(cross, np.abs(dry_spectrum) ** 2, size)


def fine_delay(dry: np.ndarray, wet: np.ndarray, rate: int, lag: int) -> Fine | None:
    """The delay near `lag`, in samples, by the excess phase; None where too little of wet follows dry."""
    start, stop = max(0, -lag), min(len(dry), len(wet) - lag)
    if stop - start < 2 * _FRAME:
        return None
    transfer, weight = _transfer(dry[start:stop], wet[start + lag : stop + lag])
    omega = 2 * np.pi * np.arange(len(transfer)) / _FRAME
    weight[omega * rate / (2 * np.pi) < _LOWEST_HZ] = 0
    if np.count_nonzero(weight) < _LEAST_BINS:
        return None
    turned = transfer / np.maximum(np.abs(transfer), 1e-30)
    turned = weight * turned * np.exp(-1j * _least_phase(_smooth(np.abs(transfer), weight, rate))) / weight.sum()
    size = 16 * _FRAME  # sixteenths of a sample, then a parabola between them
    score = np.fft.irfft(turned, size) * size / 2
    near = np.arange(-16 * _FINE, 16 * _FINE + 1)
    score = score[near]
    at = int(np.abs(score[1:-1]).argmax()) + 1
    if abs(score[at]) < _AGREES:
        return None
    before, here, after = score[at - 1 : at + 2]
    bend = before - 2 * here + after
    return Fine(lag + float(near[at] + (0.5 * (before - after) / bend if bend else 0)) / 16, int(np.sign(here)))


def _transfer(dry: np.ndarray, wet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The transfer function by Welch's method, and how much each frequency tells: its signal-to-noise ratio."""
    window, hop = np.hanning(_FRAME), _FRAME // 2
    dry_frames, wet_frames = (
        np.fft.rfft(np.lib.stride_tricks.sliding_window_view(audio, _FRAME)[::hop] * window) for audio in (dry, wet)
    )
    cross = (np.conj(dry_frames) * wet_frames).sum(axis=0)
    dry_power, wet_power = ((np.abs(frames) ** 2).sum(axis=0) for frames in (dry_frames, wet_frames))
    count = len(dry_frames)
    coherence = np.abs(cross) ** 2 / np.maximum(dry_power * wet_power, 1e-30)
    # a mean of few frames is coherent by chance
    coherence = np.clip((coherence - 1 / count) / (1 - 1 / count), 0, 0.9999)
    weight = np.where(coherence > _COHERENT, np.minimum(coherence / (1 - coherence), _MOST_WEIGHT), 0)
    weight[round(0.9 * len(weight)) :] = 0  # converters end there
    return cross / (dry_power + 1e-12 * dry_power.max() + 1e-30), weight


def _smooth(magnitude: np.ndarray, weight: np.ndarray, rate: int) -> np.ndarray:
    """Logarithm of the magnitude over thirds of octaves, from the frequencies that tell something, held beyond."""
    octave = np.log2(np.maximum(np.arange(len(magnitude)) * rate / _FRAME, _LOWEST_HZ / 2))
    grid = np.arange(np.log2(_LOWEST_HZ), np.log2(rate / 2), _OCTAVE_THIRD / 4)
    kernel = np.exp(-0.5 * ((grid[:, None] - octave) / _OCTAVE_THIRD) ** 2) * weight
    total = kernel.sum(axis=1)
    told = total > 1e-3 * total.max()
    values = kernel @ np.log(np.maximum(magnitude, 1e-30))
    return np.interp(octave, grid[told], values[told] / total[told])


def _least_phase(log_magnitude: np.ndarray) -> np.ndarray:
    """Phase of the minimum-phase filter of that magnitude, by the real cepstrum."""
    cepstrum = np.fft.irfft(log_magnitude)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    return np.fft.rfft(cepstrum).imag


def correlation(spectra: Spectra, rate: int, power: float = 0.7) -> np.ndarray:
    """Of the spectra weighted by 1 / |X Y|^power, over all lags up to the widest either way; 1 for aligned copies."""
    cross, _, size = spectra
    magnitude = np.abs(cross)
    weighted = cross / (magnitude**power + 1e-9 * magnitude.max() ** power + np.finfo(float).tiny)
    full = np.abs(weighted)
    best = (2 * full.sum() - full[0] - full[-1]) / size
    widest = int(WIDEST_S * rate)
    values = np.fft.irfft(weighted, size) / max(best, np.finfo(float).tiny)
    return np.concatenate([values[-widest:], values[: widest + 1]])


def _peak(spectra: Spectra, power: float, rate: int) -> _Peak:
    """The highest peak of the correlation."""
    values = correlation(spectra, rate, power)
    widest, near = int(WIDEST_S * rate), int(_NEAR_S * rate)
    at = int(np.abs(values).argmax())
    value = float(values[at])
    around = slice(max(0, at - near), at + near + 1)
    opposite = float((-np.sign(value) * values[around]).max())
    values[around] = 0
    height = max(abs(value), np.finfo(float).tiny)
    return _Peak(at - widest, value, float(np.abs(values).max()) / height, opposite / height)
