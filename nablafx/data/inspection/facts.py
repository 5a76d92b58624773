"""The figures of a file and of a pair, as they are measured, kept and told. Levels are RMS, in dB of full scale."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LEAST_PEAK_DB = -90.0  # below it a file is silent
SILENT_DB = -180.0  # stands for digital silence, whose level has no number


def decibels(rms: float) -> float:
    """20 lg of an amplitude; SILENT_DB for none."""
    return max(20 * float(np.log10(max(rms, 1e-12))), SILENT_DB)


@dataclass
class FileFacts:
    """One channel of a file. Places are in samples at the file's own rate, from its start.

    Attributes:
        channel: index of the one that was looked at, of `channels`.
        encoding: as libsndfile names it: PCM_16, PCM_24, FLOAT.
        bad: samples that are NaN or Inf, from `first_bad` on.
        dc: the constant part, in pauses: what a device adds to its signal is not one. None without pauses.
        clipped: runs at full scale.
        flat_tops: runs with a corner at the file's highest or lowest value, `flat_peak`, below full scale.
        clip_places: where the first of both begin.
        loud_db, noise_db: the level that 5 % of the file exceed, and the one that 5 % stay below.
        lead: samples of near silence at the start, at `lead_db`.
        hum_hz, hum_db: the mains and the level of its harmonics, where they stand out all the time; else 0.
        loudest: start of the loudest excerpt.
    """

    rate: int
    channels: int
    channel: int
    encoding: str
    frames: int = 0
    bad: int = 0
    first_bad: int = -1
    peak: float = 0.0
    dc: float | None = None
    clipped: int = 0
    flat_tops: int = 0
    flat_peak: float = 0.0
    clip_places: list[int] = field(default_factory=list)
    rms_db: float = SILENT_DB
    loud_db: float = SILENT_DB
    noise_db: float = SILENT_DB
    lead: int = 0
    lead_db: float = SILENT_DB
    hum_hz: int = 0
    hum_db: float = SILENT_DB
    loudest: int = 0

    @property
    def usable(self) -> bool:
        """Whether there is sound in it, and nothing but numbers."""
        return self.frames > 0 and not self.bad and decibels(self.peak) >= LEAST_PEAK_DB


@dataclass
class PairFacts:
    """A wet file against its dry one. None: it could not be measured.

    Attributes:
        delay: samples that wet is late, with their fraction.
        by_markers: whether impulses tell the delay; else the correlation does, which filters move by some samples.
        inverted: None where the sign is not clear.
        correlation: of the aligned recordings, signed.
        drift_ppm: by which the delay grows, if `drifts`; the delay is that of the start then.
        drifts: whether that is clear.
        track: (samples from the start, delay there).
        gain_db: of the RMS of the whole files.
        noise_db: of wet while dry is silent.
        repeat_esr: of the wet audio of a dry passage against that of the same passage before, as `repeat` says: two
            starts and a length.
        decay_ms: how long wet sounds on when dry has stopped; at least so long, if `decay_open`.
        echo_ms: lag of a copy that comes later.
    """

    delay: float | None = None
    by_markers: bool = False
    inverted: bool | None = None
    correlation: float = 0.0
    drift_ppm: float | None = None
    drifts: bool = False
    track: list[tuple[int, float]] = field(default_factory=list)
    gain_db: float = 0.0
    noise_db: float | None = None
    repeat_esr: float | None = None
    repeat: tuple[int, int, int] | None = None
    decay_ms: float | None = None
    decay_open: bool = False
    echo_ms: float | None = None

    @property
    def memory_ms(self) -> float | None:
        """The longer of echo and decay; None where neither could be measured."""
        known = [ms for ms in (self.decay_ms, self.echo_ms) if ms is not None]
        return max(known, default=None)
