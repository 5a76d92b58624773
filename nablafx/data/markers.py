"""Marker pulses in a re-amping signal: made, found, and read as the delay of what was recorded.

A marker is a group of short pulses with silence around each. Distortion, compression, filters and inversion leave a
pulse after silence a pulse after silence; that the gaps differ leaves one way to lay a recording over the signal.
Single clicks at the ends of other data sets are pulses as well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nablafx.data.pulses import Response, fit_line, residual_lags, response

MARKER_S = 0.75  # of a whole marker, its silence included
# start in s, sign, level in dBFS: quiet pulses for devices that bend loud ones; the sum is 0, so is the DC
_PULSES = ((0.1, 1, -6.0), (0.18, -1, -6.0), (0.29, -1, -24.0), (0.43, 1, -24.0))
_WIDTH_S = 1.25 / 48_000  # standard deviation: -43 dB at 0.4 of 48 kHz, so that converters do not ring
_LEAST_WIDTH = 1.1  # samples
_FRAME_S = 0.001
_AROUND = 20  # frames that must be quiet before and after a pulse
_LATEST = 0.0003  # drift of two clocks that are not broken; studio clocks keep 0.00005
_QUIET_SNR_DB = 40.0  # from here on quiet pulses tell more: they are bent less
_MISSING = np.iinfo(np.int64).min
_MOST = 4000  # pulses looked at: applause has more


class _Isolation(NamedTuple):
    """How far a pulse stands out of the frames before it and of those after it has rung out (frames)."""

    before: float
    after: float
    rings: int


_DRY = _Isolation(before=100.0, after=100.0, rings=2)
_WET = _Isolation(before=3.0, after=3.0, rings=30)


class MarkerDelay(NamedTuple):
    """Where a recording lies against its dry file: sample n of dry is at n + delay_samples + drift_ppm n / 10⁶ of wet.

    Attributes:
        delay_samples: of wet at sample 0 of dry, with its fraction. It ends where the device's own filters begin:
            their lag, as far as it has minimum phase, is the device's and stays.
        drift_ppm: how much slower dry's clock was than wet's; 0 where the pulses lie too close to tell.
        inverted: whether pulses come back with the other sign.
        matched, pulses: pulses found in wet, and in dry.
        spread_samples: RMS by which single pulses leave the line above; NaN for fewer than three.
        snr_db: the loudest pulses over the noise before them.
        rival: the pulses that the second-best place explains, as a share of `matched`.
        positions, lags_samples: of each pulse in dry, and how much later it is in wet.
    """

    delay_samples: float
    drift_ppm: float
    inverted: bool
    matched: int
    pulses: int
    spread_samples: float
    snr_db: float
    rival: float
    positions: np.ndarray
    lags_samples: np.ndarray

    @property
    def is_clear(self) -> bool:
        """Whether to believe it: most pulses are there, nowhere else, above the noise, and on one line."""
        enough = self.matched >= max(0.5 * self.pulses, min(2, self.pulses))
        alone = self.rival <= 0.6 or (self.rival < 1 and self.matched == self.pulses)
        steady = math.isnan(self.spread_samples) or self.spread_samples < 1.0
        return enough and alone and self.snr_db >= 15 and steady


def make_marker(sample_rate: int) -> np.ndarray:
    """One marker, (MARKER_S sample_rate,) float64: Gaussian pulses exp(-t² / 2 σ²), two at -6 and two at -24 dBFS."""
    audio = np.zeros(round(MARKER_S * sample_rate))
    width = max(_WIDTH_S * sample_rate, _LEAST_WIDTH)
    time = np.arange(-math.ceil(8 * width), math.ceil(8 * width) + 1)
    for start_s, sign, level_db in _PULSES:
        at = round(start_s * sample_rate)
        audio[at + time] = sign * 10 ** (level_db / 20) * np.exp(-0.5 * (time / width) ** 2)
    return audio


def find_markers(dry: np.ndarray, sample_rate: int) -> np.ndarray:
    """Samples at which single pulses stand in the silence of a dry signal (N,), in order."""
    return _isolated(dry, sample_rate, _DRY)


def marker_delay(
    dry: np.ndarray, wet: np.ndarray, sample_rate: int, pulses: np.ndarray | None = None
) -> MarkerDelay | None:
    """The delay of wet (M,) against dry (N,), any lengths, by the pulses in dry; None where they give none.

    pulses: what find_markers said of dry, where that is known. Whatever their shape became, pulses are laid over each
    other by their gaps; then each against the others by correlation, which gives line and spread; their mean answers
    where the device begins (see pulses.response).
    """
    pulses = find_markers(dry, sample_rate) if pulses is None else pulses
    heard = _isolated(wet, sample_rate, _WET)
    if not len(pulses) or not len(heard):
        return None
    lags, rival = _overlay(pulses, heard, sample_rate)
    found = lags != _MISSING
    if not found.any():
        return None
    positions, coarse = pulses[found], lags[found]
    loud = np.abs(dry[positions]) >= 0.5 * np.abs(dry[positions]).max()
    fine = residual_lags(dry, wet, positions[loud], coarse[loud], sample_rate)
    start, slope = fit_line(positions[loud], coarse[loud] + fine, len(dry))
    spread = _rms(coarse[loud] + fine - start - slope * positions[loud]) if loud.sum() > 2 else math.nan
    told = _clearer(dry, wet, positions, loud, start, slope, sample_rate)
    fine = fine + told.lag_samples
    return MarkerDelay(
        delay_samples=start + told.lag_samples,
        drift_ppm=1e6 * slope,
        inverted=told.inverted,
        matched=int(found.sum()),
        pulses=len(pulses),
        spread_samples=spread,
        snr_db=told.snr_db,
        rival=rival,
        positions=positions[loud],
        lags_samples=coarse[loud] + fine,
    )


def _clearer(
    dry: np.ndarray, wet: np.ndarray, at: np.ndarray, loud: np.ndarray, start: float, slope: float, rate: int
) -> Response:
    """The mean response to the quiet pulses where it stands clear of the noise, else that to the loud ones."""
    by_loud = response(dry, wet, at[loud], start + slope * at[loud], rate)
    if loud.all():
        return by_loud
    by_quiet = response(dry, wet, at[~loud], start + slope * at[~loud], rate)
    return by_quiet._replace(snr_db=by_loud.snr_db) if by_quiet.snr_db >= _QUIET_SNR_DB else by_loud


def _isolated(audio: np.ndarray, rate: int, needs: _Isolation) -> np.ndarray:
    size = max(round(_FRAME_S * rate), 1)
    change = np.abs(np.diff(audio, prepend=audio[:1]))  # hum is nothing here
    count = len(change) // size
    if count < 2 * _AROUND:
        return np.zeros(0, dtype=int)
    peaks = change[: count * size].reshape(count, size).max(axis=1)
    reach = _AROUND + needs.rings
    padded = np.pad(peaks, (_AROUND, reach))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _AROUND - 1)
    before = windows[:count].max(axis=1)  # all but the frame before, in which a pulse may begin
    after = windows[_AROUND + needs.rings + 1 :][:count].max(axis=1)
    rest = np.lib.stride_tricks.sliding_window_view(padded[_AROUND - 1 :], needs.rings + 2)[:count].max(axis=1)
    stands = (peaks >= needs.before * before) & (peaks >= needs.after * after) & (peaks >= rest) & (peaks > 1e-4)
    frames = np.flatnonzero(stands)
    if len(frames) > _MOST:
        frames = np.sort(frames[np.argsort(peaks[frames])[-_MOST:]])
    places = []
    for frame in frames:
        first = max((frame - 1) * size, 0)
        near = np.abs(audio[first : (frame + 2) * size])
        places.append(first + int(near.argmax()))
    return np.unique(np.array(places, dtype=int))


def _overlay(pulses: np.ndarray, heard: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
    """Lag of each pulse (_MISSING where none is heard), laid over by their gaps; and the share of the second best."""
    best, lag, anchor = 0, 0, 0
    counts = []
    for first in pulses:
        offsets = heard - first
        slack = _FRAME_S * rate + _LATEST * np.abs(pulses - first)
        places = pulses[None, :] + offsets[:, None]
        at = np.clip(np.searchsorted(heard, places), 1, max(len(heard) - 1, 1))
        right, left = heard[np.minimum(at, len(heard) - 1)], heard[at - 1]
        count = (np.minimum(np.abs(right - places), np.abs(left - places)) <= slack).sum(axis=1)
        counts.append((offsets, count))
        if count.max() > best:
            best, lag, anchor = int(count.max()), int(offsets[count.argmax()]), int(first)
    slack = _FRAME_S * rate + _LATEST * np.abs(pulses - anchor)
    near = np.abs(heard[None, :] - (pulses + lag)[:, None])
    chosen = near.argmin(axis=1)
    lags = np.where(near[np.arange(len(pulses)), chosen] <= slack, heard[chosen] - pulses, _MISSING)
    same = 2 * slack.max()
    rival = max((int(count[np.abs(offsets - lag) > same].max(initial=0)) for offsets, count in counts), default=0)
    return lags, rival / best


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
