"""nablafx report: finished runs as one page to look at and to listen to, and as a listening test."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nablafx.errors import UserError, plain
from nablafx.report.runs import Run, read_runs

if TYPE_CHECKING:
    from nablafx.report.gather import Entry, Scenes

MOST_RUNS = 12


def run(words: list[str]) -> None:
    """Run `nablafx report WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    if arguments.seconds <= 0 or arguments.files < 1:
        given = f"--seconds is {arguments.seconds:g} and --files {arguments.files}"
        raise UserError(f"{given}; they need a number above 0, and 1 or more")
    runs, skipped = read_runs(arguments.run)
    for folder, reason in skipped.items():
        print(plain(f"Left out {folder}: {reason}"))
    if not runs:
        raise UserError("there is no finished run to report on; those above say what they miss")
    if len(runs) > MOST_RUNS:
        raise UserError(f"there are {len(runs)} runs, and a page takes {MOST_RUNS}: name fewer, or see nablafx compare")
    if arguments.listening_test is None:
        _write_page(runs, arguments)
    else:
        _write_test(runs, arguments)


def _write_page(runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    from nablafx.report.page import render
    from nablafx.training.plot import read_history
    from nablafx.writing import replacing

    path = Path(arguments.output) if arguments.output else _beside(runs) / "report.html"
    entries, scenes = _gathered(runs, arguments.seconds, arguments.files)
    histories = {entry.label: read_history(entry.run.folder / "history.csv") for entry in entries}
    print("Drawing", flush=True)
    content = render(entries, list(scenes.values()), histories, arguments.title or _title(runs))
    try:
        with replacing(path) as temporary:
            temporary.write_text(content, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}; name another file with --output") from error
    size = path.stat().st_size / 1e6
    print(plain(f"Written {path} ({size:.1f} MB)\nOpen {path.resolve().as_uri()}"))


def _write_test(runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    from nablafx.report.listening import write_listening_test

    if arguments.output:
        raise UserError("--output is of a page; a listening test goes to the folder after --listening-test")
    entries, scenes = _gathered(runs, arguments.seconds, arguments.files)
    folder = Path(arguments.listening_test)
    config = write_listening_test(folder, list(scenes.values()), [entry.label for entry in entries])
    print(f"Written {config} and its stimuli\nCopy what is in {folder} into a webMUSHRA and open ?config={config.name}")


def _gathered(runs: Sequence[Run], seconds: float, count: int) -> tuple[list[Entry], Scenes]:
    from nablafx.report.gather import gather, labels

    scenes: Scenes = {}
    entries = []
    for number, (found, label) in enumerate(zip(runs, labels(runs), strict=True)):
        print(plain(f"Listening to {label}, {number + 1} of {len(runs)}"), flush=True)
        entries.append(gather(number, found, label, scenes, seconds, count))
        if entries[-1].note:
            print(plain(f"Without audio: {entries[-1].note}"))
    return entries, scenes


def _beside(runs: Sequence[Run]) -> Path:
    """A run's own folder; of several, here."""
    return runs[0].folder if len(runs) == 1 else Path()


def _title(runs: Sequence[Run]) -> str:
    devices = list(dict.fromkeys(found.data for found in runs))
    models = runs[0].model if len(runs) == 1 else f"{len(runs)} runs"
    return f"{', '.join(devices)}: {models}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx report",
        description="Write one HTML page about tested runs: metrics, players, a blind test, figures, configs. It needs "
        "no network and no server.",
    )
    parser.add_argument("run", nargs="+", help="folder of a run, or one above several: logs/ibanez-ts9")
    parser.add_argument(
        "--output", metavar="FILE", help="default: report.html, in the run's folder or, of several runs, here"
    )
    parser.add_argument("--title", help="default: from the names of the runs")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each test file (default: %(default)s)")
    parser.add_argument("--files", type=int, default=3, help="of the test audio, at most (default: %(default)s)")
    parser.add_argument(
        "--listening-test",
        metavar="DIR",
        help="write a webMUSHRA test there instead: its config, and stimuli with hidden reference and 3.5 kHz anchor",
    )
    return parser
