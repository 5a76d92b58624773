"""What a device makes of a pulse: how much later it is, to a fraction of a sample, and with which sign."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_BEFORE_S, _AFTER_S = 0.004, 0.018  # of a pulse, which has 20 ms of silence on either side
_FADE = 0.2  # of what is cut out, at its end
_LOWEST_HZ = 100.0
_HIGHEST = 0.43  # of the rate: converters end soon after
_WEAKEST = 0.03  # of dry's spectrum: beyond, the pulse says little
_LEAD_S = 0.0005  # how far filters of minimum phase may put off their peak
_NEARLY = 0.4  # of the highest swing; those of a pulse with sharp band limits reach 0.22
_SHORTEST = 0.25  # samples by which they must, to be told from noise
_BEYOND = 8  # times half the sample rate up to which a slope goes on, as analogue filters' do


class Response(NamedTuple):
    """Mean answer to pulses: how late it is against where it was looked for, its sign, and how clear it is."""

    lag_samples: float
    inverted: bool
    snr_db: float


def fit_line(positions: np.ndarray, lags: np.ndarray, length: int) -> tuple[float, float]:
    """(lag at position 0, slope) by least squares; slope 0 where the pulses span less than half of `length` samples."""
    if np.ptp(positions) < length / 2:
        return float(np.mean(lags)), 0.0
    slope, start = np.polyfit(positions, lags, 1)
    return float(start), float(slope)


def residual_lags(dry: np.ndarray, wet: np.ndarray, positions: np.ndarray, lags: np.ndarray, rate: int) -> np.ndarray:
    """What must be added to whole-sample lags so that all pulses lie alike, (P,): relative to the first answer."""
    spectra, weights, _ = _answers(dry, wet, positions, lags, rate)
    spectra = weights * spectra * _signs(spectra, weights)[:, None]
    reference = spectra[0]
    for _ in range(2):  # the second time against the mean, which has less noise
        shifts = np.array([_lag(spectrum * reference.conj())[0] for spectrum in spectra])
        reference = np.mean([_shifted(s, -shift) for s, shift in zip(spectra, shifts, strict=True)], axis=0)
    return shifts


def response(dry: np.ndarray, wet: np.ndarray, positions: np.ndarray, lags: np.ndarray, rate: int) -> Response:
    """How late the device begins to answer, on the mean over pulses whose lags (P,), with fractions, are about known.

    H = A e^{-iωτ} M: M has minimum phase and follows from |H| by the Hilbert transform; τ is the lag of H / M. The
    peak of the answer bounds it, since a device that bends pulses makes them steeper than a filter could. Low-passes
    come out right to a sample and a half, and the hardest distortion up to two samples early.
    """
    whole = np.round(lags).astype(int)
    spectra, weights, noise = _answers(dry, wet, positions, whole, rate)
    signs = _signs(spectra, weights)
    spectra = spectra * signs[:, None]
    mean = np.mean([_shifted(s, w - lag) for s, w, lag in zip(spectra, whole, lags, strict=True)], axis=0)
    peak, sign = _first_peak(weights * mean, rate)
    level = np.abs(np.fft.irfft(weights * mean)).max() / np.fft.irfft(weights)[0]
    snr_db = 20 * math.log10(max(level, 1e-12) / max(noise, 1e-12))
    floor = noise * math.sqrt(2 * (_BEFORE_S + _AFTER_S) * rate / len(lags))
    heard = (weights > 0) & (weights * np.abs(mean) >= floor)
    if heard.sum() < 8:
        return Response(peak, bool(sign * signs.mean() < 0), snr_db)
    excess = np.where(heard, weights * np.abs(mean) * np.exp(1j * (np.angle(mean) - _minimum_phase(mean, heard))), 0)
    onset, onset_sign = _lag(excess, (peak - _LEAD_S * rate, peak + 1))
    at, sign = (onset, onset_sign) if onset < peak - _SHORTEST else (peak, sign)
    return Response(at, bool(sign * signs.mean() < 0), snr_db)


def _answers(
    dry: np.ndarray, wet: np.ndarray, positions: np.ndarray, lags: np.ndarray, rate: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Wet over dry spectrum of each pulse (P, F), dry's spectrum as a weight (F,), 0 beyond its band, and the noise
    before pulses as a share of dry's peak."""
    x = np.stack([_cut(dry, at, rate) for at in positions])
    y = np.stack([_cut(wet, at + lag, rate) for at, lag in zip(positions, lags, strict=True)])
    size = 1 << (4 * x.shape[1] - 1).bit_length()
    X, Y = np.fft.rfft(x, size), np.fft.rfft(y, size)
    power = np.abs(X) ** 2
    band = (power > _WEAKEST**2 * power.max(axis=1, keepdims=True)).all(axis=0)
    hertz = np.arange(len(band)) * rate / size
    band &= (hertz >= _LOWEST_HZ) & (hertz <= _HIGHEST * rate)
    spectra = np.where(band, Y * X.conj() / np.maximum(power, 1e-30), 0)
    weights = np.where(band, np.sqrt(power.mean(axis=0) / power.max()), 0)
    quiet = y[:, : round(0.5 * _BEFORE_S * rate)]
    gain = np.sqrt(np.mean(np.abs(x).max(axis=1) ** 2))
    return spectra, weights, float(np.sqrt(np.mean((quiet - quiet.mean()) ** 2))) / float(gain)


def _cut(audio: np.ndarray, at: int, rate: int) -> np.ndarray:
    """A pulse with what is before and after it, faded out, zeros beyond the ends of the audio."""
    before, after = round(_BEFORE_S * rate), round(_AFTER_S * rate)
    first = at - before
    piece = np.zeros(before + after)
    start, stop = max(first, 0), max(min(at + after, len(audio)), 0)
    if stop > start:
        piece[start - first : stop - first] = audio[start:stop]
    piece -= piece[: before // 2].mean()
    fade = round(_FADE * len(piece))
    piece[-fade:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / fade)
    return piece


def _first_peak(spectrum: np.ndarray, rate: int) -> tuple[float, float]:
    """The first swing that comes near the highest: where paths add up, the highest may be late."""
    highest, sign = _lag(spectrum)
    audio = np.abs(np.fft.irfft(spectrum))
    times = np.arange(math.floor(highest - _LEAD_S * rate), math.floor(highest))
    near = audio[times]
    swings = (near >= _NEARLY * audio.max()) & (near >= audio[times - 1]) & (near >= audio[times + 1])
    if not swings.any():
        return highest, sign
    first = float(times[swings.argmax()])
    return _lag(spectrum, (first - 1, first + 1))


def _signs(spectra: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sign of each answer at its peak (P,): what rectifies answers all pulses with one sign."""
    return np.array([_lag(weights * spectrum)[1] for spectrum in spectra])


def _shifted(spectrum: np.ndarray, samples: float) -> np.ndarray:
    """The spectrum of what comes `samples` later."""
    return spectrum * np.exp(-1j * np.pi * np.arange(len(spectrum)) / (len(spectrum) - 1) * samples)


def _lag(spectrum: np.ndarray, within: tuple[float, float] | None = None) -> tuple[float, float]:
    """Where the signal of a spectrum peaks, in samples with a fraction, and its sign there."""
    size = 2 * (len(spectrum) - 1)
    omega = np.pi * np.arange(len(spectrum)) / (len(spectrum) - 1)
    audio = np.fft.irfft(spectrum, size)
    times = (np.arange(size) + size // 2) % size - size // 2
    height = np.abs(audio)
    if within:
        height = np.where((times >= within[0]) & (times <= within[1]), height, -np.inf)
    at = float(times[height.argmax()])
    sign = float(np.sign(audio[int(height.argmax())])) or 1.0
    step = 1.0
    while step > 1e-4:  # three points, ever closer: the audio between samples is known from its spectrum
        around = at + step * np.arange(-1, 2)
        low, middle, high = sign * (np.exp(1j * np.outer(around, omega)) @ spectrum).real
        bend = low - 2 * middle + high
        at += step * (float(np.clip(0.5 * (low - high) / bend, -1, 1)) if bend < 0 else 0.0)
        step /= 4
    return at, sign


def _minimum_phase(spectrum: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Phase of the filter of minimum phase with these magnitudes (F,).

    Below the bins that are heard they are held; above, they go on falling as they do in the last octave.
    """
    known = np.flatnonzero(heard)
    log = np.log(np.abs(spectrum[known]) + 1e-12)
    size = _BEYOND * (len(spectrum) - 1)
    bins = np.arange(size + 1)
    magnitude = np.interp(bins, known, log)
    octave = known >= known[-1] / 2
    slope, level = np.polyfit(np.log(known[octave] / known[-1]), log[octave], 1)
    above = bins > known[-1]
    magnitude[above] = level + min(slope, 0.0) * np.log(bins[above] / known[-1])
    cepstrum = np.fft.irfft(magnitude, 2 * size)
    cepstrum[1:size] *= 2
    cepstrum[size + 1 :] = 0
    return np.fft.rfft(cepstrum).imag[: len(spectrum)]
