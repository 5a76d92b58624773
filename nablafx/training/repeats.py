"""nablafx fit --repeats N: the same run with several seeds, one after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from nablafx.errors import UserError
from nablafx.training.record import read_record
from nablafx.training.runs import SEED, read_config, run_name

GRACE_S = 30.0  # for a run that was interrupted to close its files


class FailedRunError(UserError):
    """One of several runs failed, and the rest were not begun."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def take(words: Sequence[str], *options: str) -> tuple[list[str], list[str]]:
    """The words without these options and their values, and the values; an option without a value stays."""
    rest, values = [], []
    waiting = ""
    for word in words:
        name, equals, value = word.partition("=")
        if waiting:
            values.append(word)
            waiting = ""
        elif word in options:
            waiting = word
        elif equals and name in options:
            values.append(value)
        else:
            rest.append(word)
    return [*rest, *([waiting] if waiting else [])], values


def run(words: Sequence[str], count: str) -> None:
    """Fit `count` times, with seeds from the given one on.

    Each run is a process of its own: what Lightning starts for several devices calls the command line again, and the
    memory of one run must not reach the next. The split of the data, and the order of its segments, are the same in
    all: no seed decides them.

    Raises:
        UserError: no such count, or a seed to count on from.
        FailedRunError: a run failed; it has the run's exit status.
    """
    if not count.isdigit() or int(count) < 1:
        raise UserError(f"--repeats is {count}; it needs a number of runs, 1 or more")
    if take(words, "--ckpt_path")[1]:
        raise UserError("--repeats begins new runs, and --ckpt_path goes on with one; leave one of them out")
    files = take(words, "-c", "--config")[1]
    seed = _setting("seed_everything", words, files) or str(SEED)
    if not seed.isdigit():
        raise UserError(f"seed_everything is {seed}; --repeats counts on from a number")
    root = _setting("log_root", words, files) or os.environ.get("LOG_ROOT") or "logs"
    parent = Path(root) / (_setting("name", words, files) or run_name(files))
    words = take(words, "--seed_everything")[0]
    folders: list[Path] = []
    for number in range(int(count)):
        folders += _one(words, int(seed) + number, number, int(count), parent)
    print(f"== {count} runs: {', '.join(map(str, folders))}")
    print(f"Next: nablafx test -c RUN/config.yaml for each, then nablafx compare {parent}")


def call(command: Sequence[str]) -> int:
    """Run a command to its end, and return its exit status, as a shell says it.

    Ctrl-C reaches the command as well; it gets the time to close its files before it is ended. SIGTERM, which may be
    for this process alone, is handed on: the status tells it.
    """
    process = subprocess.Popen(command, env=_environment())
    on_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate()) if on_main else None
    try:
        status = process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(GRACE_S)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.terminate()
            process.wait()
        raise
    finally:
        if on_main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    return status if status >= 0 else 128 - status


def _environment() -> dict[str, str]:
    """That of this process; `python -m` looks for modules in the current folder only if this process does."""
    here = Path.cwd()
    if any(Path(place).resolve() == here for place in sys.path):
        return dict(os.environ)
    return {**os.environ, "PYTHONSAFEPATH": "1"}


def _one(words: Sequence[str], seed: int, number: int, count: int, parent: Path) -> list[Path]:
    """Fit with this seed; returns the new folders of that seed below `parent`."""
    print(f"== run {number + 1} of {count}: seed {seed}", flush=True)
    before = set(parent.glob("version_*"))
    status = call([sys.executable, "-m", "nablafx", "fit", *words, "--seed_everything", str(seed)])
    if status:
        left = count - number
        raise FailedRunError(
            f"the run with seed {seed} failed (exit status {status}), and {left - 1} were not begun. "
            f"Mend it, and go on with --seed_everything {seed} --repeats {left}",
            status,
        )
    # another process may begin runs of this name meanwhile
    return [folder for folder in set(parent.glob("version_*")) - before if read_record(folder).get("seed") == seed]


def _setting(key: str, words: Sequence[str], files: Sequence[str]) -> str | None:
    """What the words, or else the files, say of a setting that is no section's."""
    values = take(words, f"--{key}")[1]
    for file in files if not values else ():
        content = read_config(file)
        if isinstance(content, dict) and content.get(key) is not None:
            values.append(str(content[key]))
    return values[-1] if values else None
