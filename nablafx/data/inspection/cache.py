"""Figures that were measured before, by what the files were: path, size and time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from nablafx.data.inspection.facts import FileFacts, PairFacts
from nablafx.writing import cache_folder, replacing

VERSION = 1  # of the checks: figures of another one are measured anew

Facts = TypeVar("Facts", FileFacts, PairFacts)


def fingerprint(path: Path, channel: str | int | None) -> str:
    """What a file was when it was looked at. Raises OSError where it is not there."""
    stat = path.stat()
    return f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}|{channel}"


class Cache:
    """The figures of one data set: a JSON file named after its place.

    A file that is damaged, or of another version, counts as none; one that cannot be written is done without. Parallel
    runs replace it as a whole, so that one of them may have to measure again, and none reads half a file.
    """

    def __init__(self, place: Path) -> None:
        name = hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:16]
        self._path = cache_folder("checks") / f"{place.name}-{name}.json"
        self._entries: dict[str, dict[str, Any]] | None = None
        self._changed = False

    def get(self, key: str, kind: type[Facts]) -> Facts | None:
        """What was measured of it, if anything was."""
        if self._entries is None:
            self._entries = self._read()
        entry = self._entries.get(key)
        names = {field.name for field in dataclasses.fields(kind)}
        return kind(**entry) if isinstance(entry, dict) and set(entry) == names else None

    def put(self, key: str, facts: FileFacts | PairFacts) -> None:
        """Keep it, from the next `save` on in the file."""
        if self._entries is None:
            self._entries = self._read()
        self._entries[key] = dataclasses.asdict(facts)
        self._changed = True

    def save(self) -> None:
        """Write what is new beside what another run may have written since."""
        if not self._changed or self._entries is None:
            return
        current = {key: entry for key, entry in {**self._read(), **self._entries}.items() if _is_there(key)}
        text = json.dumps({"version": VERSION, "entries": current})
        try:
            with replacing(self._path) as temporary:
                temporary.write_text(text)
        except OSError:
            return  # it saves time, and no more
        self._changed = False

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        known = isinstance(content, Mapping) and content.get("version") == VERSION
        entries = content.get("entries") if known else None
        return dict(entries) if isinstance(entries, Mapping) else {}


def pair_key(dry: str, wet: str) -> str:
    """Of a pair, from the fingerprints of its files."""
    return f"{dry}\n{wet}"


def _is_there(key: str) -> bool:
    """Whether the files are still there; those of moved data sets would pile up."""
    return all(Path(one.rsplit("|", 3)[0]).exists() for one in key.split("\n"))
