"""nablafx fit --repeats N: the same run with several seeds, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from nablafx.errors import UserError
from nablafx.training.runs import run_name

SEED = 42


def take(words: Sequence[str], *options: str) -> tuple[list[str], list[str]]:
    """The words without these options and their values, and the values."""
    rest, values = [], []
    pending = False
    for word in words:
        name, equals, value = word.partition("=")
        if pending:
            values.append(word)
            pending = False
        elif word in options:
            pending = True
        elif equals and name in options:
            values.append(value)
        else:
            rest.append(word)
    return rest, values


def run(words: Sequence[str], count: str) -> None:
    """Fit `count` times, with seeds from the given one on.

    Each run is a process of its own: what Lightning starts for several devices calls the command line again, and the
    memory of one run must not reach the next. The split of the data, and the order of its segments, are the same in
    all: no seed decides them.

    Raises:
        UserError: no such count, or a run failed.
    """
    if not count.isdigit() or int(count) < 1:
        raise UserError(f"--repeats is {count}; it needs a number of runs, 1 or more")
    if take(words, "--ckpt_path")[1]:
        raise UserError("--repeats begins new runs, and --ckpt_path goes on with one; leave one of them out")
    _, files = take(words, "-c", "--config")
    words, seeds = take(words, "--seed_everything")
    first = _seed(seeds, files)
    for number in range(int(count)):
        seed = first + number
        print(f"== run {number + 1} of {count}: seed {seed}", flush=True)
        command = [sys.executable, "-m", "nablafx", "fit", *words, "--seed_everything", str(seed)]
        status = subprocess.run(command).returncode
        if status:
            left = int(count) - number
            raise UserError(
                f"the run with seed {seed} failed (exit status {status}), and {left - 1} were not begun. "
                f"Mend it, and go on with --seed_everything {seed} --repeats {left}"
            )
    _, roots = take(words, "--log_root")
    _, names = take(words, "--name")
    root = roots[-1] if roots else os.environ.get("LOG_ROOT") or "logs"
    folder = Path(root) / (names[-1] if names else run_name(files))
    print(f"{count} runs in {folder}. Next: nablafx test -c RUN/config.yaml for each, then nablafx compare {folder}")


def _seed(given: list[str], files: list[str]) -> int:
    if not given:
        contents = (yaml.safe_load(Path(file).read_text()) for file in files)
        given = [str(c["seed_everything"]) for c in contents if isinstance(c, dict) and "seed_everything" in c]
    if not given:
        return SEED
    if not given[-1].isdigit():
        raise UserError(f"seed_everything is {given[-1]}; --repeats counts on from a number")
    return int(given[-1])
