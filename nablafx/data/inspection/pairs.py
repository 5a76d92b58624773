"""A wet file against its dry one: where it lies, how it differs, and how long it remembers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from nablafx.data.inspection.alignment import align, spectra_of
from nablafx.data.inspection.drift import Reader, drift
from nablafx.data.inspection.facts import FileFacts, PairFacts, decibels
from nablafx.data.inspection.marked import marked
from nablafx.data.inspection.memory import decay, echo_ms
from nablafx.data.inspection.repeats import Repeat
from nablafx.data.inspection.scan import EXCERPT_S, Scan
from nablafx.data.shift import shifted

_SAME_ESR = 1e-6  # of two dry passages, for them to count as one
_SETTLES_S = 0.25  # what went before still sounds in wet at the start of a passage
_LONGEST_S = 10.0  # of a passage
_SILENCE_DB = -80.0
_SILENCE_STEPS = 30  # of dry, and the first third of them left out: what it played has died away


class PairReader:
    """Stretches of both files of a pair."""

    def __init__(self, dry: soundfile.SoundFile, wet: soundfile.SoundFile, facts: tuple[FileFacts, FileFacts]) -> None:
        self._files = (dry, wet)
        self._channels = [one.channel for one in facts]

    def __call__(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples start to stop of dry and of wet, float32."""
        dry, wet = (self._one(side, start, stop) for side in (0, 1))
        return dry, wet

    def paced(self, ppm: float, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Dry, and wet as a clock would have given it that runs faster by `ppm`."""
        source = shifted(partial(self._one, 1), self._files[1].frames, 0.0, ppm, start, stop)
        return self._one(0, start, stop), np.concatenate(list(source))

    def _one(self, side: int, start: int, stop: int) -> np.ndarray:
        self._files[side].seek(start)
        return self._files[side].read(stop - start, dtype="float32", always_2d=True)[:, self._channels[side]]


def compare(dry: Path, wet: Path, dry_scan: Scan, wet_scan: Scan) -> PairFacts:
    """The figures of a pair of usable files of one rate, as far as both go."""
    facts, rate = dry_scan.facts, dry_scan.facts.rate
    frames = min(facts.frames, wet_scan.facts.frames)
    pair = PairFacts(gain_db=wet_scan.facts.rms_db - facts.rms_db, noise_db=_in_silence(dry_scan, wet_scan))
    with soundfile.SoundFile(dry) as dry_file, soundfile.SoundFile(wet) as wet_file:
        read = PairReader(dry_file, wet_file, (facts, wet_scan.facts))
        start, stop = _loudest(facts, wet_scan.facts)
        x, y = read(start, stop)
        spectra = spectra_of(x, y, rate)
        found = align(x, y, rate, spectra)
        pair.delay, pair.inverted, pair.correlation = found
        if found.delay is not None:
            pair.echo_ms = echo_ms(spectra, rate, found.delay)
        _follow(pair, read, frames, rate, (start + stop) // 2)
        repeat = dry_scan.landmarks.repeat()
        if repeat and repeat.second + repeat.length <= frames:
            # a clock that drifts would make any device differ from itself
            _repeats(pair, repeat, partial(read.paced, pair.drift_ppm or 0.0) if pair.drifts else read, rate)
    died = decay(dry_scan.power, wet_scan.power)
    if died:
        pair.decay_ms, pair.decay_open = died
    return pair


def _follow(pair: PairFacts, read: PairReader, frames: int, rate: int, middle: int) -> None:
    """The delay over the file, by its sound and, where it has them, by its markers, which know better."""
    moved = drift(read, frames, rate, pair.delay or 0.0, middle)
    if moved:
        pair.drift_ppm, pair.drifts, pair.track = moved.ppm, moved.clear, moved.track
    if moved and moved.clear:
        # within a window the delay moved as well; at the right pace it stands, and is seen better
        rest = drift(partial(read.paced, moved.ppm), frames, rate, moved.start, middle)
        pair.delay = rest.start if rest else moved.start
        pair.drift_ppm = moved.ppm + (rest.ppm if rest else 0.0)
    told = marked(read, frames, rate)
    if told:
        pair.by_markers, pair.delay, pair.inverted = True, told.start, told.inverted
        if told.ppm is not None:
            pair.drift_ppm, pair.drifts = told.ppm, told.drifts


def excerpt(dry: Path, wet: Path, dry_facts: FileFacts, wet_facts: FileFacts) -> tuple[np.ndarray, np.ndarray]:
    """The loudest audio of a pair, by which its delay is found."""
    with soundfile.SoundFile(dry) as dry_file, soundfile.SoundFile(wet) as wet_file:
        return PairReader(dry_file, wet_file, (dry_facts, wet_facts))(*_loudest(dry_facts, wet_facts))


def _loudest(dry: FileFacts, wet: FileFacts) -> tuple[int, int]:
    frames, wanted = min(dry.frames, wet.frames), EXCERPT_S * dry.rate
    start = min(dry.loudest, max(frames - wanted, 0))
    return start, min(start + wanted, frames)


def _in_silence(dry: Scan, wet: Scan) -> float | None:
    """The level of wet while dry is silent, from their envelopes; None where it never is for long enough."""
    silent = dry.power[: len(wet.power)] <= 10 ** (_SILENCE_DB / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
    spans = [
        wet.power[start + _SILENCE_STEPS // 3 : stop]
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
        if stop - start >= _SILENCE_STEPS
    ]
    # the quietest of them: elsewhere a tail may sound
    return decibels(min(float(np.sqrt(span.mean())) for span in spans)) if spans else None


def _repeats(pair: PairFacts, repeat: Repeat, read: Reader, rate: int) -> None:
    """Compare wet with itself where dry plays a passage again, once the samples of dry have proved that it does."""
    length = min(repeat.length, int(_LONGEST_S * rate))
    start = repeat.length - length
    first = read(repeat.first + start, repeat.first + repeat.length)
    second = read(repeat.second + start, repeat.second + repeat.length)
    settled = min(int(_SETTLES_S * rate), length // 2)
    if _esr(second[0], first[0]) <= _SAME_ESR:
        pair.repeat = (repeat.first + start + settled, repeat.second + start + settled, length - settled)
        pair.repeat_esr = _esr(second[1][settled:], first[1][settled:])


def _esr(other: np.ndarray, one: np.ndarray) -> float:
    """Energy of the difference over that of `one`."""
    difference = other.astype(np.float64) - one
    return float(np.dot(difference, difference) / max(float(np.dot(one, one)), 1e-12))
