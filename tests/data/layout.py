"""Small data sets written by soundfile, whose samples are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from nablafx.data import PairedAudioDataModule

RATE = 8000
LENGTHS = {"a": 8960, "b": 4720}  # as all lengths here a multiple of 10 ms, so that names tell exact starts
SEGMENT = 960
SETTINGS = ("D000_T020", "D050_T050", "D100_T080")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Noise at -20 dBFS or so, float32, which no check has a complaint about."""
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def write(path: Path, audio: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


def write_set(
    folder: Path,
    trainval: dict[str, int],
    test: dict[str, int] | None = None,
    settings: tuple[str, ...] = ("D050",),
) -> tuple[Path, Path]:
    """Write noise files of the given lengths (samples), wet half the dry, and return the dry and wet folders."""
    dry, wet = folder / "dry", folder / "wet"
    for part, lengths in {"trainval": trainval, "test": test or {}}.items():
        for number, (name, length) in enumerate(lengths.items()):
            x = noise(length, number)
            write(dry / part / f"{name}.input.wav", x)
            for index, setting in enumerate(settings):
                write(wet / part / setting / f"{setting}.{name}.target.wav", x / (2 + index))
            if not settings:
                write(wet / part / f"{name}.target.wav", x / 2)
    return dry, wet


def build(dry, wet, stage: str = "fit", **arguments) -> PairedAudioDataModule:
    arguments = {"segment_length": SEGMENT, "batch_size": 4, "sample_rate": RATE, **arguments}
    data = PairedAudioDataModule(str(dry), str(wet), **arguments)
    data.setup(stage)
    return data


def items(loader) -> list[tuple]:
    """(name, x, y, controls) of each item."""
    found = []
    for batch in loader:
        for index, name in enumerate(batch.names):
            controls = None if batch.controls is None else batch.controls[index]
            found.append((name, batch.x[index], None if batch.y is None else batch.y[index], controls))
    return found


def start_of(name: str) -> int:
    return round(float(name.split("@")[1][:-1]) * RATE)
