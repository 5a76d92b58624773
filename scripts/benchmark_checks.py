"""How long the checks of a data set take, beside reading its files once; each beside each, in one run.

    python scripts/benchmark_checks.py --pairs 4 --minutes 10

Made-up recordings: plucked strings, and the same through a curve, 24-bit wav and flac. "read" is a pass of soundfile
over every file, "check" what a first fit does, "again" what the next ones do. A first pass fills the disk cache.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from nablafx.data.demo import plucks
from nablafx.data.inspection.cache import Cache
from nablafx.data.inspection.inspect import inspect

RATE = 48_000
_BLOCK = 1 << 16

Pairs = list[tuple[Path, Path | None]]


def made(folder: Path, suffix: str, pairs: int, minutes: float) -> Pairs:
    """Dry and wet files of that format."""
    found: Pairs = []
    for number in range(pairs):
        dry = plucks(round(60 * minutes * RATE), RATE, np.random.default_rng(number))
        paths = folder / f"{number}.input{suffix}", folder / f"{number}.target{suffix}"
        for path, audio in zip(paths, (dry, 0.4 * np.tanh(4 * dry)), strict=True):
            soundfile.write(path, audio, RATE, subtype="PCM_24")
        found.append(paths)
    return found


def read(pairs: Pairs) -> None:
    for path in filter(None, (path for pair in pairs for path in pair)):
        with soundfile.SoundFile(path) as file:
            for _ in file.blocks(_BLOCK, dtype="float32"):
                pass


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds that pass, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def measured(folder: Path, suffix: str, pairs: int, minutes: float) -> Iterator[str]:
    files = made(folder, suffix, pairs, minutes)
    size = sum(path.stat().st_size for pair in files for path in pair if path)
    audio_s = 2 * 60 * minutes * pairs
    read(files)
    for name, run in (
        ("read", lambda: read(files)),
        ("check", lambda: inspect(files, None, Cache(folder))),
        ("again", lambda: inspect(files, None, Cache(folder))),
    ):
        seconds, processor = timed(run)
        yield (
            f"{suffix[1:]:5} {name:6} {seconds:8.3f} s {processor:8.3f} s of CPU {size / 1e6 / seconds:10,.0f} MB/s "
            f"{audio_s / seconds:10,.0f} times real time"
        )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each file")
    options = parser.parse_args(words)
    for suffix in (".wav", ".flac"):
        with TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
            for line in measured(Path(folder), suffix, options.pairs, options.minutes):
                print(line, flush=True)


if __name__ == "__main__":
    main()
