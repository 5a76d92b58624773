"""Whether figures of runs are comparable, and in words what stands against it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from nablafx.report.runs import Run

if TYPE_CHECKING:
    from nablafx.data.dataset import HeardFile

MOST_FILES = 2  # that are told of one by one


def protocol(run: Run) -> Hashable:
    """Equal for runs that heard the same audio, cut in the same way, in training and in the test."""
    return (*map(str, run.facts.values()), *(heard["fingerprint"] for heard in run.heard.values()))


def letter(number: int) -> str:
    return chr(ord("A") + number)


def differences(runs: Sequence[Run]) -> str:
    """What differs between protocols, by a run of each: "segment_length (A: 144000, B: 4800); split (…)"."""
    parts = []
    for name in runs[0].facts:
        values = [str(run.facts[name]) for run in runs]
        if len(set(values)) > 1:
            parts.append(f"{name} ({', '.join(f'{letter(n)}: {value}' for n, value in enumerate(values))})")
    # how audio is cut is in the fingerprint too, but told already
    explained = bool(parts)
    for name in runs[0].heard:
        heard = [run.heard[name] for run in runs]
        told = _unequal_files([h["files"] for h in heard])
        if not told and not explained:
            told = [h["fingerprint"] for h in heard]
        if told and len({h["fingerprint"] for h in heard}) > 1:
            parts.append(f"{name} ({'; '.join(f'{letter(n)}: {text}' for n, text in enumerate(told))})")
    return "; ".join(parts)


def _unequal_files(lists: Sequence[list[HeardFile]]) -> list[str]:
    """Of each list how long it is, and how the files are there that are not the same in all; nothing if all are."""
    by_name = [{file["name"]: file for file in files} for files in lists]
    names = list(dict.fromkeys(name for files in by_name for name in files))
    unequal = [name for name in names if any(files.get(name) != by_name[0].get(name) for files in by_name)]
    more = f", and {len(unequal) - MOST_FILES} more differ" if len(unequal) > MOST_FILES else ""
    told = []
    for files in by_name:
        details = [_file(files[name]) if name in files else f"no {name}" for name in unequal[:MOST_FILES]]
        told.append(f"{_count(list(files.values()))}: {', '.join(details)}{more}")
    return told if unequal else []


def _count(files: list[HeardFile]) -> str:
    samples = sum(file["frames"] for file in files)
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {samples:,} samples"


def _file(file: HeardFile) -> str:
    stretches = {"trains": file.get("train"), "validates": file.get("val")}
    told = " and ".join(f"{verb} {part[0]} to {part[1]}" for verb, part in stretches.items() if part)
    return f"{file['name']} {told}" if told else f"{file['name']} {file['frames']:,}"
