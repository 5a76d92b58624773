"""The re-amping signal: what a device is asked, so that a model hears all that it does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nablafx.data.demo import plucks
from nablafx.data.markers import make_marker

SHORTEST_S, TAIL_S = 12.0, 0.5
# of what the markers leave
_PROBES, _TRAINVAL, _TEST = 0.3, 0.5, 0.2
_NOISE_FLOOR_S = 1.0
_LEVELS_DB = (-40.0, -20.0, 0.0)  # re the peak of the signal
_STEPS_DB = (-40, -12, -24, 0, -30, -6, -48, -18, 0, -36)
_BURSTS_S = (0.01, 0.03, 0.1, 0.3)  # for attack and release: on, and off as long
_PASSAGES_DB = (0.0, -12.0, -6.0, -24.0, -3.0, -18.0)  # levels of programme, one after the other
_PASSAGE_S = 3.0
_FIRST_HZ, _LAST = 20.0, 0.45  # of sweeps, the last as a share of the rate
_FADE_S = 0.01


def capture_signal(
    rate: int = 48_000,
    seconds: float = 180.0,
    level_db: float = -3.0,
    programme: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Markers around probes, programme that trains, and programme that tests: (seconds rate,) float64.

    Probes are silence, sweeps, steps of tones and bursts, and noise. Markers part the three, and the last stretch is
    the test: the file itself says so (see layout). level_db: its peak, dBFS. programme: (N,) in place of plucked
    strings, divided in two, so that what tests is not in what trains; the signal is shorter where it does not suffice.

    Raises ValueError for a signal that is too short or a level at which it would clip or drown.
    """
    if not seconds >= SHORTEST_S:
        raise ValueError(f"seconds: {seconds:g}: needs {SHORTEST_S:g} or more, for markers, probes and programme")
    if not -40 <= level_db <= -0.1:
        raise ValueError(f"level_db: {level_db:g}: needs a peak from -40 to -0.1 dBFS")
    marker, peak = make_marker(rate), 10 ** (level_db / 20)
    room = round(seconds * rate) - 4 * len(marker) - round(TAIL_S * rate)
    counts = [round(share * room) for share in (_PROBES, _TRAINVAL)]
    counts.append(room - sum(counts))
    random = np.random.default_rng(seed)
    if programme is None:
        train, test = (_played(count, rate, random) for count in counts[1:])
    else:
        train, test = _divided(programme, counts[1:], rate)
    parts = [_probes(counts[0], rate, random), train, test]
    pieces = [marker]
    for part in parts:
        pieces += [peak * part, marker]
    return np.concatenate([*pieces, np.zeros(round(TAIL_S * rate))])


def _probes(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    silence = min(round(_NOISE_FLOOR_S * rate), count // 8)
    sweeps, steps = round(0.35 * (count - silence)), round(0.4 * (count - silence))
    rest = count - silence - sweeps - steps
    return np.concatenate(
        [np.zeros(silence), _sweeps(sweeps, rate), _steps(steps, rate, random), _noises(rest, rate, random)]
    )


def _sweeps(count: int, rate: int) -> np.ndarray:
    """Exponential sine sweeps from 20 Hz to 0.45 of the rate, one a level, with pauses."""
    audio, length = np.zeros(count), count // len(_LEVELS_DB)
    time = np.arange(round(0.85 * length)) / rate
    growth = time[-1] / math.log(_LAST * rate / _FIRST_HZ)
    sweep = _faded(np.sin(2 * math.pi * _FIRST_HZ * growth * (np.exp(time / growth) - 1)), rate)
    for index, level_db in enumerate(_LEVELS_DB):
        audio[index * length : index * length + len(sweep)] = 10 ** (level_db / 20) * sweep
    return audio


def _steps(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Tones that jump from level to level, then bursts of noise, short and long, over faint noise."""
    half = count // 2
    step = half // len(_STEPS_DB)
    gains = np.repeat(10 ** (np.array(_STEPS_DB) / 20), step)
    tones = gains * np.sin(2 * math.pi * 220 * np.arange(len(gains)) / rate)
    gate, at = np.full(count - len(tones), 10 ** (-40 / 20)), 0
    while at < len(gate):
        for burst_s in _BURSTS_S:
            length = max(round(burst_s * rate), 1)
            gate[at : at + length] = 0.5
            at += 2 * length
    return np.concatenate([_faded(tones, rate), _faded(gate * _noise(len(gate), random), rate)])


def _noises(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Noise at each level."""
    pieces = np.array_split(_noise(count, random), len(_LEVELS_DB))
    return np.concatenate(
        [10 ** (level / 20) * _faded(piece, rate) for level, piece in zip(_LEVELS_DB, pieces, strict=True)]
    )


def _noise(count: int, random: np.random.Generator) -> np.ndarray:
    """White up to where converters begin to filter, its peak at 1."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum[round(2 * _LAST * len(spectrum)) :] = 0
    audio = np.fft.irfft(spectrum, count)
    return audio / max(np.abs(audio).max(initial=0), 1e-9)


def _played(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Passages of plucked strings, each at another level."""
    length = max(min(round(_PASSAGE_S * rate), count // len(_PASSAGES_DB)), 1)
    audio = np.zeros(count)
    for index, start in enumerate(range(0, count, length)):
        passage = 2 * plucks(min(length, count - start), rate, random)  # their peak is 0.5
        audio[start : start + length] = 10 ** (_PASSAGES_DB[index % len(_PASSAGES_DB)] / 20) * _faded(passage, rate)
    return audio


def _divided(programme: np.ndarray, counts: Sequence[int], rate: int) -> list[np.ndarray]:
    """What trains and what tests, cut from a user's programme, its peak at 1, as long as it suffices for both."""
    share = min(len(programme) / sum(counts), 1.0)
    train, test = (int(share * count) for count in counts)
    highest = np.abs(programme[: train + test]).max(initial=0)
    if min(train, test) < rate or not highest:
        raise ValueError(
            f"the programme has {len(programme) / rate:.1f} s, silence apart: it needs four seconds or more"
        )
    pieces = programme[:train], programme[train : train + test]
    return [_faded(piece / highest, rate) for piece in pieces]


def _faded(audio: np.ndarray, rate: int) -> np.ndarray:
    """With soft ends, so that no part clicks, and without DC; at most 1 at its peak."""
    count = min(round(_FADE_S * rate), len(audio) // 2)
    ramp = 0.5 - 0.5 * np.cos(math.pi * (np.arange(count) + 0.5) / max(count, 1))
    gains = np.ones(len(audio))
    gains[:count], gains[len(gains) - count :] = ramp, ramp[::-1]
    audio = gains * (audio - np.dot(gains, audio) / max(gains.sum(), 1e-9))
    return audio / max(np.abs(audio).max(initial=0), 1)
