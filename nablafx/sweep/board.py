"""What is shown while a sweep runs: bars on a terminal, and a line for each event in a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from statistics import mean
from typing import TYPE_CHECKING, Any

from nablafx.sweep.trials import Trial

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_SHOWN = 12  # running trials, on a terminal


class Board:
    """Counts of trials, the running ones, and the time left by what those of the same model took.

    Args:
        todo: the trials that are not done.
        done: how many are.
        console: where it is shown.
    """

    def __init__(self, todo: list[Trial], done: int, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.left = {(trial.name, trial.seed): trial for trial in todo}
        self.console = console
        self.counts = Counter(done=done)
        self.running: dict[tuple[str, int], TaskID] = {}
        self._total = done + len(todo)
        self._seconds: dict[str, list[float]] = {}
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(
            *columns,
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self.progress.add_task("trials", total=self._total, completed=done, note="")

    def begin(self, name: str, seed: int) -> None:
        shown = len(self.running) < _SHOWN
        task = self.progress.add_task(f"{name}, seed {seed}", total=None, note="", visible=shown)
        self.running[name, seed] = task
        self._line(f"begun   {name}, seed {seed}")

    def tell(self, name: str, seed: int, event: Mapping[str, Any]) -> None:
        """A trial says how far it is."""
        note = f"step {event['step']:,}: {event['value']:.4g}" if "value" in event else str(event.get("task", ""))
        if (name, seed) in self.running:
            self.progress.update(self.running[name, seed], note=note)

    def lose(self, name: str, seed: int) -> None:
        """A trial's worker is gone: the trial waits for another one."""
        self._take(name, seed)
        self._line(f"lost    {name}, seed {seed}: its worker is gone, and it will be run again")

    def end(self, name: str, seed: int, event: Mapping[str, Any]) -> None:
        self._take(name, seed)
        trial = self.left.pop((name, seed), None)
        self.counts[event["state"]] += 1
        if trial and event["state"] == "done" and event.get("seconds"):
            self._seconds.setdefault(_kind(trial), []).append(event["seconds"])
        ended = self._total - len(self.left)
        self.progress.update(self._all, completed=ended, note=self._note())
        why = f": {event.get('problem')}; {event.get('log')}" if event["state"] == "failed" else ""
        self._line(f"{event['state']:7} {name}, seed {seed}{why} ({ended} of {self._total}; {self._note()})")

    def seconds_left(self) -> float | None:
        """By the mean time of the trials of the same model, or else of all; None before the first one ended."""
        if not self._seconds:
            return None
        usual = mean(second for seconds in self._seconds.values() for second in seconds)
        each = (mean(self._seconds.get(_kind(trial), [usual])) for trial in self.left.values())
        return sum(each) / max(len(self.running), 1)

    def _take(self, name: str, seed: int) -> None:
        task = self.running.pop((name, seed), None)
        if task is not None:
            self.progress.remove_task(task)
        for task in list(self.running.values())[:_SHOWN]:
            self.progress.update(task, visible=True)

    def _note(self) -> str:
        left = self.seconds_left()
        failed = f"{self.counts['failed']} failed, " if self.counts["failed"] else ""
        return f"{failed}{'time left unknown' if left is None else f'about {duration(left)} left'}"

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"{time.strftime('%H:%M:%S')} {text}", markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """5 s, 12 min, 3 h 20 min, 4 d 2 h."""
    for size, name, small, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= size:
            whole, rest = divmod(round(seconds / small), size // small)
            return f"{whole} {name} {rest} {part}" if rest else f"{whole} {name}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _kind(trial: Trial) -> str:
    """The model, with what is set of it: its repeats, and those on other devices, take about as long."""
    return trial.name.partition("/")[2]
