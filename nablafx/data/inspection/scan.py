"""One pass over a file, in constant memory but for its envelope: a number every 10 ms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nablafx.data.audio import blocks, choose_channel, header
from nablafx.data.inspection.clipping import Clipping
from nablafx.data.inspection.facts import FileFacts, decibels
from nablafx.data.inspection.hum import Hum
from nablafx.data.inspection.repeats import Landmarks

STEPS = 100  # of the envelope in a second
EXCERPT_S = 10  # of the loudest audio
_LEAD_DB = -70.0
_HUM_BELOW_DB = 6.0  # the quiet moments: lines further down are notes that ring on
_LEAST_WINDOWS = 10
_QUIET = 0.05  # of the windows; as many at the other end are loud
_PAUSE = 0.01  # power of it, to that of the loud
_AGREE = 0.3  # spread of a constant over the quietest moments, as a share of it
_WINDOW = 10  # steps of the envelope, for levels


@dataclass
class Scan:
    """What one pass found.

    Attributes:
        facts: to keep.
        power: of every 10 ms, mean square about the mean: a level that settles makes no sound.
        landmarks: by which passages are recognised.
    """

    facts: FileFacts
    power: np.ndarray
    landmarks: Landmarks


def scan(path: Path, channel: str | int | None, told: Callable[[int, int], None] = lambda _seen, _all: None) -> Scan:
    """Read a file through.

    Args:
        told: is called with the samples so far and those of the file, every second.

    Raises:
        soundfile.SoundFileError: it cannot be read.
        ValueError: it says what cannot be, has no such channel, or several without a choice.
    """
    info = header(path)
    rate, index = info.samplerate, choose_channel(info.channels, channel)
    facts = FileFacts(rate, info.channels, index, info.subtype)
    clipping, hum, landmarks = Clipping(), Hum(rate), Landmarks(rate)
    step = max(rate // STEPS, 1)
    power, means = [], []
    for block in blocks(path, index, step * STEPS):
        energy = float(np.dot(block, block))
        if not np.isfinite(energy):
            block = _finite(block, facts)
        clipping.add(block)
        hum.add(block)
        landmarks.add(block)
        steps = block[: len(block) // step * step].reshape(-1, step)
        power.append(np.einsum("ij,ij->i", steps, steps) / step)
        means.append(steps.mean(axis=1))
        facts.frames += len(block)
        told(facts.frames, info.frames)
    facts.peak = max(clipping.high, -clipping.low)
    facts.clipped = clipping.full
    facts.flat_tops, facts.flat_peak, places = clipping.flat_tops()
    facts.clip_places = sorted([*clipping.places, *places])
    powers, every = np.concatenate([*power, []]), np.concatenate([*means, []])
    if len(powers):
        _levels(facts, powers, every, step)
        mains, level_db = hum.found()
        if level_db >= facts.noise_db - _HUM_BELOW_DB:
            facts.hum_hz, facts.hum_db = mains, level_db
    return Scan(facts, np.maximum(powers - every**2, 0).astype(np.float32), landmarks)


def _finite(block: np.ndarray, facts: FileFacts) -> np.ndarray:
    """The block with zeros for what is no number; counts it."""
    finite = np.isfinite(block)
    if not finite.all():
        facts.first_bad = facts.frames + int(np.argmin(finite)) if facts.first_bad < 0 else facts.first_bad
        facts.bad += int(np.count_nonzero(~finite))
    # what overflows when squared would poison all levels
    return np.clip(np.where(finite, block, 0), -1e9, 1e9)


def _levels(facts: FileFacts, power: np.ndarray, means: np.ndarray, step: int) -> None:
    facts.rms_db = decibels(float(np.sqrt(power.mean())))
    window = min(_WINDOW, len(power))
    whole = len(power) // window * window
    levels = power[:whole].reshape(-1, window).mean(axis=1)
    constants = means[:whole].reshape(-1, window).mean(axis=1)
    moving = np.maximum(levels - constants**2, 0)
    facts.loud_db = decibels(float(np.sqrt(np.quantile(levels, 1 - _QUIET))))
    facts.noise_db = decibels(float(np.sqrt(np.quantile(moving, _QUIET))))
    facts.dc = _constant(constants, moving)
    sounding = np.flatnonzero(power - means**2 > 10 ** (_LEAD_DB / 10))
    lead = int(sounding[0]) if len(sounding) else len(power)
    facts.lead = lead * step
    facts.lead_db = decibels(float(np.sqrt(power[:lead].mean()))) if lead else facts.lead_db
    facts.loudest = _loudest(power) * step


def _constant(means: np.ndarray, moving: np.ndarray) -> float | None:
    """The mean of the quietest windows, where they agree and nothing much moves in them; None without such pauses."""
    if len(means) < _LEAST_WINDOWS:
        return None
    quiet = np.argsort(moving, kind="stable")[: max(round(_QUIET * len(means)), 3)]
    mean, spread = float(means[quiet].mean()), float(means[quiet].std())
    silent = moving[quiet].mean() <= 10 ** (_LEAD_DB / 10)
    paused = moving[quiet].mean() <= _PAUSE * np.quantile(moving, 1 - _QUIET) and spread <= _AGREE * abs(mean)
    return mean if silent or paused else None


def _loudest(power: np.ndarray) -> int:
    """The second, in steps, at which the loudest excerpt starts."""
    seconds = np.add.reduceat(power, np.arange(0, len(power), STEPS))
    if len(seconds) <= EXCERPT_S:
        return 0
    return STEPS * int(np.convolve(seconds, np.ones(EXCERPT_S), mode="valid").argmax())
