"""A small made-up device in the data set layout, for tests and smoke runs: no recording, no download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from nablafx.data.files import PARTS

_FILES = {"trainval": ("chords", "riffs"), "test": ("t-riffs",)}


class Demo(NamedTuple):
    """The folders to give as `dry` and `wet`."""

    dry: Path
    wet: Path


def write_demo(
    folder: str | Path,
    settings: Sequence[str] = ("D050_T050",),
    seconds: float = 4.0,
    seed: int = 0,
    sample_rate: int = 48_000,
) -> Demo:
    """Write plucked notes and what a drive pedal with tone filter makes of them, as 24-bit wav files.

    settings: names such as D030_T080 (D drive, T tone, in percent), a folder each; none writes a device
    without knobs, in flat folders. seconds: length of each of the two trainval files and the one test file.
    seed: which notes; the same seed writes the same samples.
    """
    dry, wet = Path(folder) / "DRY", Path(folder) / "DEMO"
    notes = np.random.default_rng(seed)
    for part in PARTS:
        for name in _FILES[part]:
            x = plucks(round(seconds * sample_rate), sample_rate, notes)
            _write(dry / part / f"{name}.input.wav", x, sample_rate)
            for setting in settings:
                drive, tone = (int(knob[1:]) / 100 for knob in setting.split("_"))
                path = wet / part / setting / f"{setting}.{name}.target.wav"
                _write(path, _pedal(x, drive, tone, sample_rate), sample_rate)
            if not settings:
                _write(wet / part / f"{name}.target.wav", _pedal(x, 0.5, 0.5, sample_rate), sample_rate)
    return Demo(dry, wet)


def _write(path: Path, audio: np.ndarray, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, sample_rate, subtype="PCM_24")


def plucks(length: int, sample_rate: int, notes: np.random.Generator) -> np.ndarray:
    """Decaying harmonic tones, four a second, one after the other (length,)."""
    step = max(sample_rate // 4, 1)
    audio = np.zeros(length)
    for start in range(0, length, step):
        time = np.arange(min(2 * step, length - start)) / sample_rate
        pitch_hz = 82.4 * 2 ** (notes.integers(0, 30) / 12)
        for harmonic in range(1, 9):
            phase = 2 * np.pi * (harmonic * pitch_hz * time + notes.random())
            audio[start : start + len(time)] += np.exp(-3 * harmonic**0.5 * time) / harmonic * np.sin(phase)
    audio *= 0.5 / max(np.abs(audio).max(), 1e-9)
    return audio


def _pedal(x: np.ndarray, drive: float, tone: float, sample_rate: int) -> np.ndarray:
    """y = lowpass(tanh(g x + 0.2) - tanh(0.2)), asymmetric: g from 2 to 40, cutoff from 800 to 6400 Hz."""
    shaped = np.tanh(2 * 20**drive * x + 0.2) - np.tanh(0.2)
    pole = np.exp(-2 * np.pi * 800 * 8**tone / sample_rate)
    response = (1 - pole) * pole ** np.arange(max(round(0.003 * sample_rate), 1))
    return 0.5 * np.convolve(shaped, response)[: len(x)]
