"""Where a recorded return lies against the signal that was played, and whether it is one of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nablafx.data.inspection.alignment import align
from nablafx.data.markers import MarkerDelay, marker_delay
from nablafx.data.shift import shifted
from nablafx.recording.layout import Layout

_SHORTEST_DRIFT = 0.1  # samples over the whole signal: less is not removed
_EXCERPT_S = 10.0
_UNRELATED = 0.06  # highest correlation of recordings of other signals: they reach 0.05
_CLIPPED, _CLIPPED_RUN = 0.999, 4


class Placing(NamedTuple):
    """How dry sample n is found in wet: at n + delay_samples + drift_ppm n / 10⁶; and what was heard of it.

    Attributes:
        by: "markers" or "correlation".
        inverted: None where it cannot be told.
        level_db, peak_db: RMS and peak of wet, dBFS.
        noise_db: RMS where dry is silent, dBFS; None where it never is.
        clipped: runs of 4 or more samples at full scale.
    """

    by: str
    delay_samples: float
    drift_ppm: float
    inverted: bool | None
    level_db: float
    peak_db: float
    noise_db: float | None
    clipped: int


def place(dry: np.ndarray, wet: np.ndarray, rate: int, layout: Layout) -> Placing:
    """Find wet (M,) against dry (N,), by markers where they are clear, else by correlation.

    Raises ValueError (a line for the user) where neither is clear, where wet ends before dry or begins after it, or
    where wet is a recording of another signal.
    """
    found = marker_delay(dry, wet, rate, layout.pulses) if len(layout.pulses) else None
    inverted: bool | None
    if found and found.is_clear:
        moves = abs(found.drift_ppm) * 1e-6 * len(dry) >= _SHORTEST_DRIFT
        drift = found.drift_ppm if moves else 0.0
        delay = found.delay_samples if moves else float(np.mean(found.lags_samples))
        by, inverted = "markers", found.inverted
    else:
        delay, inverted = _by_correlation(dry, wet, rate, found)
        by, drift = "correlation", 0.0
    _check_reach(dry, wet, rate, layout, delay, drift)
    placing = Placing(by, delay, drift, inverted, *_levels(dry, wet, rate, delay))
    _check_signal(dry, wet, rate, layout, placing)
    return placing


def aligned(wet: np.ndarray, placing: Placing, start: int, stop: int) -> np.ndarray:
    """Samples start to stop of dry's time, as wet answers them: band-limited, silence where wet has ended."""
    blocks = shifted(lambda a, b: wet[a:b], len(wet), placing.delay_samples, placing.drift_ppm, start, stop)
    return np.concatenate(list(blocks))


def _by_correlation(
    dry: np.ndarray, wet: np.ndarray, rate: int, markers: MarkerDelay | None
) -> tuple[float, bool | None]:
    count = min(len(dry), len(wet), round(3 * _EXCERPT_S * rate))
    found = align(dry[:count], wet[:count], rate)
    if found.delay is not None:
        return found.delay, found.inverted
    if markers is None:
        seen = "no markers in it, and no clear correlation with the dry signal within half a second"
    else:
        seen = (
            f"{markers.matched} of {markers.pulses} marker pulses, {markers.snr_db:.0f} dB above the noise, "
            "and no clear correlation with the dry signal"
        )
    raise ValueError(
        f"cannot be laid over the dry signal: it has {seen}. Is it a recording of this signal, from before its first "
        "marker on? Play it louder if noise covers it, and leave echoes and reverbs out of the chain"
    )


def _check_reach(dry: np.ndarray, wet: np.ndarray, rate: int, layout: Layout, delay: float, drift: float) -> None:
    first, last = layout.stretches[0].start, layout.stretches[-1].stop
    early = -(first + delay)
    late = last + delay + 1e-6 * drift * last - len(wet)
    if early > 1:
        raise ValueError(
            f"begins {early / rate:.2f} s after the first audio of the dry signal: start recording before you play"
        )
    if late > 1:
        raise ValueError(
            f"ends {late / rate:.2f} s before the last audio of the dry signal does: it has {len(wet) / rate:.2f} s; "
            "record on until the last marker has been played"
        )


def _levels(dry: np.ndarray, wet: np.ndarray, rate: int, delay: float) -> tuple[float, float, float | None, int]:
    full = (np.abs(wet) >= _CLIPPED).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.pad(full, 1)))
    runs = int(np.sum(edges[1::2] - edges[::2] >= _CLIPPED_RUN))
    return _decibels(_rms(wet)), _decibels(float(np.abs(wet).max())), _noise(dry, wet, rate, delay), runs


def _noise(dry: np.ndarray, wet: np.ndarray, rate: int, delay: float) -> float | None:
    """The quietest tenth of a second of wet that answers silence, dBFS."""
    size = rate // 10
    count = len(dry) // size
    silent = np.abs(dry[: count * size]).reshape(count, size).max(axis=1) < 1e-6
    found = []
    for index in np.flatnonzero(silent[:-1] & silent[1:]) + 1:  # a silent one before it: what rings has rung
        start = round(index * size + delay)
        if 0 <= start <= len(wet) - size:
            piece = wet[start : start + size]
            found.append(_decibels(_rms(piece - piece.mean())))
    return min(found) if found else None


def _check_signal(dry: np.ndarray, wet: np.ndarray, rate: int, layout: Layout, placing: Placing) -> None:
    """Refuse a recording of another signal, whose markers may be the same."""
    for part in ("trainval", "test"):
        stretch = max((s for s in layout.stretches if s.part == part), key=lambda s: s.stop - s.start)
        stop = min(stretch.stop, stretch.start + round(_EXCERPT_S * rate))
        x, y = dry[stretch.start : stop], aligned(wet, placing, stretch.start, stop)
        likeness = abs(align(x, y, rate).correlation)
        if likeness < _UNRELATED:
            raise ValueError(
                f"answers another signal: from {stretch.start / rate:.1f} s on its correlation with the dry one is "
                f"{likeness:.2f}, and recordings of a device reach 0.15: give the signal that was played"
            )


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio))))


def _decibels(amplitude: float) -> float:
    return 20 * float(np.log10(max(amplitude, 1e-9)))
