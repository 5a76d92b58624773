"""All files and pairs of a data set: each file read once, two at a time, what is known from before not at all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from threading import Event, RLock
from typing import NamedTuple

import soundfile

from nablafx.data.inspection.cache import Cache, fingerprint, pair_key
from nablafx.data.inspection.facts import FileFacts, PairFacts
from nablafx.data.inspection.pairs import compare
from nablafx.data.inspection.scan import Scan, scan

_THREADS = min(4, os.cpu_count() or 1)  # libsndfile and numpy let go of the interpreter's lock

Couple = tuple[Path, Path | None]
"""A dry file and its wet one; None for a file by itself."""


class Inspection(NamedTuple):
    """The facts of every file, or why it cannot be read, and those of every pair of usable files of one rate."""

    files: dict[Path, FileFacts | str]
    pairs: dict[Couple, PairFacts]

    def usable(self, path: Path) -> FileFacts:
        """The facts of a file that can be read."""
        facts = self.files[path]
        assert isinstance(facts, FileFacts), facts
        return facts

    @property
    def memory_ms(self) -> float | None:
        """The longest of all pairs; None where none could be measured."""
        return max((pair.memory_ms for pair in self.pairs.values() if pair.memory_ms is not None), default=None)


def inspect(
    couples: Sequence[Couple],
    channel: str | int | None,
    cache: Cache,
    told: Callable[[int], None] = lambda _bytes: None,
) -> Inspection:
    """Measure what is not known yet.

    Args:
        told: is called with the bytes that have passed, from several threads; those of a known file come at once.
    """
    work = _Work(couples, channel, cache, told)
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            done = [pool.submit(work.measure, couple) for couple in couples]
            for one in done:
                one.result()
        finally:
            # on an error or Ctrl-C, threads end with the second of audio they are at
            work.stopped.set()
            pool.shutdown(cancel_futures=True)
            cache.save()
    return Inspection(work.files, work.pairs)


class _Work:
    """What the threads share."""

    def __init__(
        self, couples: Sequence[Couple], channel: str | int | None, cache: Cache, told: Callable[[int], None]
    ) -> None:
        self.files: dict[Path, FileFacts | str] = {}
        self.pairs: dict[Couple, PairFacts] = {}
        self.stopped = Event()
        self._channel, self._cache, self._told = channel, cache, told
        self._uses = Counter(path for couple in couples for path in couple if path)
        self._locks = {path: RLock() for path in self._uses}
        self._scans: dict[Path, Scan | str] = {}

    def measure(self, couple: Couple) -> None:
        """Fill in a couple."""
        dry, wet = couple
        facts = [self._facts(path) for path in couple if path]
        if wet and fit(*facts):
            self._pair(dry, wet)
        for path in filter(None, couple):
            with self._locks[path]:
                self._uses[path] -= 1
                if not self._uses[path]:
                    # envelopes of a hundred hours are not held at once
                    self._scans.pop(path, None)

    def _facts(self, path: Path) -> FileFacts | str:
        with self._locks[path]:
            if path not in self.files:
                try:
                    key, size = fingerprint(path, self._channel), path.stat().st_size
                except OSError as error:
                    self.files[path] = f"cannot be read ({error.strerror}): put it back, or remove its partner"
                    return self.files[path]
                known = self._cache.get(key, FileFacts)
                if known is None:
                    found = self._scan(path)
                    if isinstance(found, Scan):
                        self._cache.put(key, found.facts)
                    self.files[path] = found.facts if isinstance(found, Scan) else found
                else:
                    self._told(size)
                    self.files[path] = known
            return self.files[path]

    def _pair(self, dry: Path, wet: Path) -> None:
        key = pair_key(fingerprint(dry, self._channel), fingerprint(wet, self._channel))
        known = self._cache.get(key, PairFacts)
        if known is None:
            dry_scan, wet_scan = self._scan(dry), self._scan(wet)
            if not isinstance(dry_scan, Scan) or not isinstance(wet_scan, Scan):
                return  # it has vanished since
            try:
                known = compare(dry, wet, dry_scan, wet_scan)
            except (OSError, soundfile.SoundFileError) as error:
                # it could be read through, and not from the middle
                self.files[wet] = f"cannot be read beside {dry.name} ({error}): copy both again, or export them again"
                return
            self._cache.put(key, known)
        self.pairs[dry, wet] = known

    def _scan(self, path: Path) -> Scan | str:
        """What a pass over the file finds, or why there can be none."""
        with self._locks[path]:
            if path not in self._scans:
                self._scans[path] = self._read(path)
            return self._scans[path]

    def _read(self, path: Path) -> Scan | str:
        told = 0

        def tell(seen: int, frames: int) -> None:
            nonlocal told
            if self.stopped.is_set():
                raise CancelledError
            self._told(size * seen // max(frames, 1) - told)
            told = size * seen // max(frames, 1)

        try:
            size = path.stat().st_size
            return scan(path, self._channel, tell)
        except (OSError, soundfile.SoundFileError) as error:
            return f"cannot be read ({error}): copy it again, or export it again as wav or flac"
        except ValueError as error:
            return str(error)


def fit(dry: FileFacts | str, wet: FileFacts | str) -> bool:
    """Whether two files can be used, and compared as far as both go."""
    if not isinstance(dry, FileFacts) or not isinstance(wet, FileFacts):
        return False
    return dry.usable and wet.usable and dry.rate == wet.rate
