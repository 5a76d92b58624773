"""Aligned copies of a data set: wet where dry is, both of one length, in another folder."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import numpy as np
import soundfile

from nablafx.data.checks import is_delayed
from nablafx.data.inspection.facts import FileFacts, PairFacts
from nablafx.data.inspection.inspect import Inspection
from nablafx.data.shift import shifted
from nablafx.errors import UserError
from nablafx.recording.gathering import Gathered

_BLOCK = 1 << 16


class Move(NamedTuple):
    """What is done to a wet file: y[n] = sign x(n + delay + 1e-6 ppm n)."""

    delay: float
    ppm: float
    sign: int

    def reach(self, frames: int) -> tuple[int, int]:
        """The first and the last + 1 sample whose place lies within x."""
        pace = 1 + 1e-6 * self.ppm
        return max(0, math.ceil(-self.delay / pace)), math.floor((frames - 1 - self.delay) / pace) + 1

    def told(self) -> str:
        """In words; empty for none."""
        said = [f"{abs(self.delay):.2f} samples {'earlier' if self.delay > 0 else 'later'}"] if self.delay else []
        said += [f"{self.ppm:+.1f} ppm resampled away"] if self.ppm else []
        return ", ".join([*said, *(["turned over"] if self.sign < 0 else [])])


def check_target(target: Path, gathered: Gathered) -> None:
    """Raises UserError where a new folder cannot be made there, or originals would be in reach."""
    place = target.resolve()
    for root in (gathered.dry_root.resolve(), gathered.wet_root.resolve()):
        if place == root or root in place.parents or place in root.parents:
            raise UserError(f"--fix {target} overlaps {root}, which holds originals; name a folder elsewhere")
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"--fix {target} is there already, and is left as it is; name a new folder")


def write_fixed(
    target: Path, gathered: Gathered, found: Inspection, turn: bool, told: Callable[[int], None]
) -> list[tuple[Path, str]]:
    """Write the layout anew, as mono files of the channel that is modelled; whole, or not at all.

    Files that do not move keep their samples and their encoding; moved ones are 32-bit float. Pairs with a problem
    other than their lengths are left out.

    Args:
        turn: turn inverted files over.
        told: is called with the bytes of originals that are done.

    Returns:
        Every written file, and what was done to it.
    """
    check_target(target, gathered)
    by_dry: dict[Path, dict[Path, Move]] = {}
    for pair in gathered.pairs:
        if pair.wet and (pair.dry, pair.wet) in found.pairs:
            by_dry.setdefault(pair.dry, {})[pair.wet] = _move(
                found.pairs[pair.dry, pair.wet], found.usable(pair.dry), turn
            )
    if not by_dry:
        raise UserError("there is no pair that could be aligned: both files of one must be usable, and of one rate")
    dry_name, wet_name = _names(gathered)
    written = []
    try:
        target.resolve().parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(mkdtemp(prefix=f".{target.name}.", dir=target.resolve().parent))
        try:
            for dry, moves in by_dry.items():
                every = {dry: Move(0.0, 0.0, 1), **moves}
                reaches = [move.reach(found.usable(path).frames) for path, move in every.items()]
                start, stop = max(first for first, _ in reaches), min(last for _, last in reaches)
                for path, move in every.items():
                    root, name = (gathered.dry_root, dry_name) if path == dry else (gathered.wet_root, wet_name)
                    place = _write(scratch / name / path.relative_to(root), path, found, move, start, stop)
                    written.append((target / place.relative_to(scratch), move.told()))
                    told(path.stat().st_size)
            if target.exists():
                target.rmdir()
            os.replace(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error}; name another folder with --fix") from error
    return written


def _move(pair: PairFacts, dry: FileFacts, turn: bool) -> Move:
    """What is clear is undone, and nothing else: a device's own filters are not."""
    ppm = (pair.drift_ppm or 0.0) if pair.drifts else 0.0
    delay = (pair.delay or 0.0) if ppm or is_delayed(pair, dry.rate) else 0.0
    return Move(delay, ppm, -1 if turn and pair.inverted else 1)


def _names(gathered: Gathered) -> tuple[str, str]:
    """Folders of dry and wet in the copy: their own names, or none where both lie in one."""
    dry, wet = gathered.dry_root.resolve(), gathered.wet_root.resolve()
    if dry == wet:
        return "", ""
    return (dry.name, wet.name) if dry.name != wet.name else ("dry", "wet")


def _write(target: Path, path: Path, found: Inspection, move: Move, start: int, stop: int) -> Path:
    """One file from sample start to stop of the dry one's count; the path that it is at, .wav where it moved."""
    target.parent.mkdir(parents=True, exist_ok=True)
    channel, info = found.usable(path).channel, soundfile.info(path)
    if not move.told():
        with soundfile.SoundFile(target, "w", info.samplerate, 1, info.subtype, format=info.format) as sink:
            for block in _as_they_are(path, channel, info.subtype, start, stop):
                sink.write(block)
        return target
    target = target.with_name(f"{target.stem}.wav")
    with (
        soundfile.SoundFile(path) as source,
        soundfile.SoundFile(target, "w", info.samplerate, 1, "FLOAT", format="WAV") as sink,
    ):

        def read(first: int, last: int) -> np.ndarray:
            source.seek(first)
            return source.read(last - first, dtype="float64", always_2d=True)[:, channel]

        for block in shifted(read, info.frames, move.delay, move.ppm, start, stop):
            sink.write(move.sign * block)
    return target


def _as_they_are(path: Path, channel: int, encoding: str, start: int, stop: int) -> Iterator[np.ndarray]:
    """Samples in a type that holds them exactly: libsndfile scales floats that become integers by other numbers."""
    kind = "int32" if encoding.startswith("PCM") and encoding != "PCM_U8" else "float64"
    with soundfile.SoundFile(path) as source:
        source.seek(start)
        for first in range(start, stop, _BLOCK):
            yield source.read(min(_BLOCK, stop - first), dtype=kind, always_2d=True)[:, channel]
