"""nablafx sweep: what is done of a grid or a search, and the rest of it run."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx.errors import UserError
from nablafx.shipped import find_config
from nablafx.sweep.keeper import GRACE_S, history, lock_of, locked
from nablafx.sweep.spec import Search, Spec, gpus_of, read_spec, whole
from nablafx.sweep.states import DONE, ENDS, NOT_BEGUN, STATES, runs_of
from nablafx.sweep.trials import Table, Trial, chosen, table_of
from nablafx.trust import load_settings

if TYPE_CHECKING:
    from rich.console import Console

_PASSED_ON = ("DATA_ROOT", "NABLAFX_")  # variables that workers on other machines need as well
_BEST = 5


class StoppedSweep(UserError):
    """A sweep that was interrupted, with the way to go on."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run(words: list[str]) -> None:
    """Run `nablafx sweep WORDS`.

    Raises:
        UserError: what the user can mend; trials that failed.
        StoppedSweep: it was interrupted.
    """
    split = words.index("--") if "--" in words else len(words)
    given = _parser().parse_intermixed_args(words[:split])
    load_settings()
    spec = read_spec(find_config(given.sweep))
    spec = spec.with_seeds(given.seeds) if given.seeds is not None else spec
    table = table_of(spec)
    trials = chosen(table.trials, given.pattern)
    root = Path(given.log_root or os.environ.get("LOG_ROOT") or "logs")
    if given.list:
        show(trials, table, root)
        return
    again = f"nablafx sweep {shlex.join(words)}"
    carry_on(trials, spec, given, root, words[split + 1 :], again)


def show(trials: Sequence[Trial], table: Table, root: Path) -> None:
    """The table: a row an experiment, a column a seed."""
    from rich.table import Table as Grid

    seeds = sorted({trial.seed for trial in trials})
    grid = Grid("data", "model", "trainer", *map(str, seeds))
    counts: Counter[str] = Counter()
    names = dict.fromkeys(trial.name for trial in trials)
    there = {(trial.name, trial.seed) for trial in trials}
    for name in names:
        runs = runs_of(root, name)
        states = [runs.get(seed, (NOT_BEGUN, root))[0] if (name, seed) in there else "" for seed in seeds]
        counts.update(state for state in states if state)
        grid.add_row(*name.split("/"), *states)
    console = _console()
    console.print(grid)
    told = ", ".join(f"{counts[state]} {_word(state)}" for state in STATES if counts[state])
    excluded = f"; {len(table.excluded)} excluded" if table.excluded else ""
    console.print(f"{_count(names, 'experiment')}, {_count(trials, 'trial')}: {told}{excluded}", highlight=False)


def carry_on(
    trials: Sequence[Trial], spec: Spec, given: argparse.Namespace, root: Path, options: Sequence[str], again: str
) -> None:
    """Do what is not done of the trials, and tell what came of them."""
    todo = [trial for trial in trials if _state(trial, root) not in ENDS]
    console = _console()
    console.print(f"{_count(trials, 'trial')}, {len(trials) - len(todo)} done before", highlight=False)
    ends: dict[tuple[str, int], dict[str, Any]] = {}
    if todo:
        root.mkdir(parents=True, exist_ok=True)
        ends = _run(todo, len(trials) - len(todo), spec, given, root, options, again)
    if spec.search:
        _tell_best(trials, spec.search, root, console)
    states = Counter(_state(trial, root) for trial in trials)
    console.print(", ".join(f"{states[state]} {_word(state)}" for state in STATES if states[state]), highlight=False)
    parents = dict.fromkeys(str(root / t.name.split("/")[0]) for t in trials if _state(t, root) == DONE)
    if parents:
        console.print(f"Next: nablafx compare {shlex.join(parents)}", markup=False, highlight=False, soft_wrap=True)
    failed = {key: end for key, end in ends.items() if end["state"] == "failed"}
    if failed:
        lines = [f"  {name}, seed {seed}: {end['problem']}; {end['log']}" for (name, seed), end in failed.items()]
        raise UserError("\n".join([f"{_count(failed, 'trial')} failed; the same command tries again", *lines]))


def _run(
    todo: list[Trial], done: int, spec: Spec, given: argparse.Namespace, root: Path, options: Sequence[str], again: str
) -> dict[tuple[str, int], dict[str, Any]]:
    from nablafx.sweep.board import Board
    from nablafx.sweep.cluster import Stop, check_room, connected, gpus_for, run_jobs

    cpus = whole(given.cpus, "--cpus", 1) if given.cpus is not None else spec.cpus
    asked = gpus_of(given.gpus, "--gpus") if given.gpus is not None else spec.gpus
    board = Board(todo, done, _console())
    try:
        with connected(given.address), board.progress:
            gpus = gpus_for(asked)
            check_room(cpus, gpus)
            jobs = [_job(trial, spec, root, options, max(1, int(cpus // max(gpus, 1)))) for trial in todo]
            return run_jobs(jobs, board, cpus=cpus, gpus=gpus, search=spec.search)
    except Stop as stop:
        open_ones = _close(list(board.running), root)
        raise StoppedSweep(f"stopped; {open_ones}. Go on with: {again}", 128 + stop.args[0]) from stop


def _job(trial: Trial, spec: Spec, root: Path, options: Sequence[str], threads: int) -> dict[str, Any]:
    return {
        "name": trial.name,
        "seed": trial.seed,
        "words": [*trial.words, *options],
        "root": str(root),
        "cwd": os.getcwd(),
        "retries": spec.retries,
        "threads": threads,
        "environment": {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)},
        "metric": spec.search.metric if spec.search else None,
    }


def _close(running: Sequence[tuple[str, int]], root: Path) -> str:
    """Wait until the trials that ran have ended; says whether they have."""
    until = time.monotonic() + GRACE_S

    def waiting() -> None:
        time.sleep(0.2)
        if time.monotonic() > until:
            raise TimeoutError

    late = 0
    for name, seed in running:
        try:
            with locked(lock_of(root, name, seed), waiting):
                pass
        except TimeoutError:
            late += 1
    return f"{late} of {len(running)} runs are still closing" if late else f"{_count(running, 'run')} closed"


def _tell_best(trials: Sequence[Trial], search: Search, root: Path, console: Console) -> None:
    from rich.table import Table as Grid

    found = []
    for trial in trials:
        state, folder = runs_of(root, trial.name).get(trial.seed, (NOT_BEGUN, root))
        values = [value for _, value in history(folder, search.metric)]
        if values:
            found.append(((min if search.mode == "min" else max)(values), trial, state))
    found.sort(key=lambda one: one[0], reverse=search.mode == "max")
    grid = Grid(f"best of {search.metric}", "trial", "state")
    for value, trial, state in found[:_BEST]:
        grid.add_row(f"{value:.4g}", trial.title, state)
    console.print(grid)


def _state(trial: Trial, root: Path) -> str:
    return runs_of(root, trial.name).get(trial.seed, (NOT_BEGUN, root))[0]


def _word(state: str) -> str:
    return {NOT_BEGUN: "not begun", "stopped": "stopped early"}.get(state, state)


def _count(things: Any, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _console() -> Console:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 200
    return console


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx sweep",
        description="Train and test every trial of a grid or a search that is not done yet, and go on with what is "
        "begun; on this machine, or on a Ray cluster that shares the folders of logs and data.",
        epilog="Words after -- go to every nablafx fit. The same command goes on where it was stopped.",
    )
    parser.add_argument("sweep", metavar="SWEEP.yaml", help="a file, or a shipped config: sweep/study.yaml")
    parser.add_argument("pattern", nargs="?", default="", help="part of a run's name; * stands for anything")
    parser.add_argument("--list", "--dry-run", action="store_true", help="only show the trials and how far each is")
    parser.add_argument("--seeds", type=int, metavar="N", help="runs of each experiment, in place of the file's")
    parser.add_argument("--log_root", metavar="DIR", help="default: $LOG_ROOT, or logs")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster, or auto (default: this machine)")
    parser.add_argument("--cpus", type=int, metavar="N", help="and threads of a trial, in place of the file's")
    parser.add_argument("--gpus", type=float, metavar="X", help="of a trial, as 0.25, in place of the file's")
    return parser
