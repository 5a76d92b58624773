"""Progress of long work on audio, on the terminal of the first process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from nablafx.processes import rank

_FROM_FILES = 20  # fewer are done before a bar would be read
_FROM_BYTES = 2e8

T = TypeVar("T")


def progress(items: Sequence[T], description: str) -> Iterable[T]:
    """The items, with a progress bar where there are many, someone watches, and this is the first process."""
    if len(items) <= _FROM_FILES or not _is_watched():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description, console=Console(stderr=True), transient=True)


@contextmanager
def progress_of_bytes(paths: Sequence[Path], description: str) -> Iterator[Callable[[int], None]]:
    """What takes the bytes that are done of these files, and shows them, their speed and the time left."""
    total = sum(path.stat().st_size for path in paths if path.exists())
    if (total < _FROM_BYTES and len(paths) <= _FROM_FILES) or not _is_watched():
        yield lambda _bytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)


def _is_watched() -> bool:
    return sys.stderr.isatty() and rank() == 0
