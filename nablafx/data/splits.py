"""Which stretches train and which validate, decided by names and lengths alone, never by chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nablafx.data.errors import DataError

GUARD_S = 0.25  # audio between training and validation that is in neither: neighbours sound alike


class Stretch(NamedTuple):
    """Samples start to stop of a file."""

    start: int
    stop: int


class Split(NamedTuple):
    """The stretch of a dry file that trains and the one that validates, the same for all its wet files."""

    train: Stretch | None
    val: Stretch | None


def split_by_time(frames: Mapping[Path, int], segment: int, guard: int, fraction: float) -> dict[Path, Split]:
    """Take the end of every dry file for validation: `fraction` of it, in whole segments, at least one.

    `guard` samples before it are in neither. A file too short for a segment on both sides only trains.
    frames: length of each dry file in samples. Raises DataError when no file can be divided.
    """
    splits = {}
    for path, length in frames.items():
        room = (length - guard) // segment - 1  # whole segments that leave one to train
        if room < 1:
            splits[path] = Split(Stretch(0, length), None)
            continue
        val = segment * min(max(round(length * fraction / segment), 1), room)
        splits[path] = Split(Stretch(0, length - val - guard), Stretch(length - val, length))
    if not any(split.val for split in splits.values()):
        longest = max(frames, key=lambda path: frames[path])
        fits = (frames[longest] - guard) // 2
        fix = f"give a segment_length of {fits} or less" if fits > 0 else "record longer files"
        raise DataError(
            f"split: time: no dry file is long enough for a training and a validation segment of "
            f"{segment} samples with {guard} between them; the longest is {longest} with "
            f"{frames[longest]} samples: {fix}"
        )
    return splits


def split_by_file(frames: Mapping[Path, int], segment: int, fraction: float) -> dict[Path, Split]:
    """Take `fraction` of the dry files whole for validation, at least one, evenly spaced in order of name.

    Raises DataError when fewer than two files hold a segment, so that one side would be empty.
    """
    names = sorted(path for path, length in frames.items() if length >= segment)
    if len(names) < 2:
        lengths = ", ".join(f"{path.name} {length}" for path, length in sorted(frames.items()))
        raise DataError(
            f"split: file: needs two or more dry files of at least one segment ({segment} samples), and "
            f"there are {len(names)} (lengths: {lengths}): "
            "use `split: time`, or give a smaller segment_length"
        )
    count = min(max(round(fraction * len(names)), 1), len(names) - 1)
    held_out = {names[index] for index in evenly(len(names), count)}
    return {
        path: Split(None, Stretch(0, length)) if path in held_out else Split(Stretch(0, length), None)
        for path, length in frames.items()
    }


def segment_starts(stretch: Stretch, segment: int) -> list[int]:
    """Starts of consecutive segments, and of one aligned to the end if half a segment or more is left."""
    starts = list(range(stretch.start, stretch.stop - segment + 1, segment))
    if starts and 2 * (stretch.stop - starts[-1] - segment) >= segment:
        starts.append(stretch.stop - segment)
    return starts


def evenly(total: int, count: int) -> list[int]:
    """`count` indices below `total`, evenly spaced, centred in their shares: evenly(9, 3) is 1, 4, 7."""
    return [(2 * index + 1) * total // (2 * count) for index in range(count)]
