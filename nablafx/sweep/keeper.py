"""One trial, from where it is to its end: fit, or going on with it, and test, tried again where they fail.

A keeper is a process between a trial and who asked for it. It tells what happens in lines of JSON on its output, and
lives as long as its input stays open: where that ends, because a worker was stopped, killed or lost, it ends what it
runs as pre-emption would, so that the run can go on elsewhere. One keeper at a time has a trial: the lock is held by
what it runs as well, until the last of it has ended, and the next keeper waits for that.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from nablafx.errors import plain
from nablafx.sweep.states import ENDS, NOT_BEGUN, TRAINED, folders_of, runs_of

POLL_S = 1.0
GRACE_S = 30.0  # for a run to write its last checkpoint
LOG = "trial.log"
_CALLED = "== nablafx "
COMMAND = [sys.executable, "-m", "nablafx"]


def follow(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Run a trial under a keeper of its own; yields what it tells, the last with one of `ENDS` or `failed` as state.

    `job` says `name`, `seed`, `words` (of fit), `root` (of logs), `cwd`, `retries`, `threads`, `environment` (more
    variables) and `metric` (a column of history.csv to tell of, or None).

    Raises:
        RuntimeError: the keeper ended before the trial.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-m", "nablafx.sweep.keeper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=job["cwd"],
        env={**os.environ, **job["environment"]},
        text=True,
    )
    assert keeper.stdin
    assert keeper.stdout
    told: dict[str, Any] = {}
    try:
        keeper.stdin.write(json.dumps(dict(job)) + "\n")
        keeper.stdin.flush()
        for line in keeper.stdout:
            told = json.loads(line)
            yield told
    finally:
        keeper.stdin.close()
        for _ in keeper.stdout:
            pass  # until it has ended what it runs
        keeper.stdout.close()
        keeper.wait()
    if told.get("state") not in (*ENDS, "failed"):
        raise RuntimeError(f"the process that kept {job['name']}, seed {job['seed']} ended before it")


class Keeper:
    """What runs a job, in the process that is the keeper."""

    def __init__(self, job: Mapping[str, Any], lifeline: int = 0) -> None:
        self.job = job
        self.lifeline = lifeline
        self.parent = Path(job["root"]) / job["name"]
        self.lock: IO[str] | None = None
        self.folder: Path | None = None
        self.log = self.parent / f"seed-{job['seed']}.log"
        self._told = 0

    def run(self) -> None:
        """Do what is left of the trial, and tell its end."""
        started = time.monotonic()
        end = self._finish()
        self.tell(**end, seconds=round(time.monotonic() - started, 3))

    def _finish(self) -> dict[str, Any]:
        failures = 0
        while True:
            before = self._state()
            if before in ENDS:
                return {"state": before}
            status = self._call(self._words(before))
            problem = f"exit status {status}{self._last_word()}" if status else self._unknown_metric()
            if not problem and self._state() == before:
                problem = "it ended before its time"
            failures += bool(problem)
            if failures > self.job["retries"]:
                return {"state": "failed", "problem": problem}

    def tell(self, **facts: Any) -> None:
        print(json.dumps({"folder": str(self.folder or ""), "log": str(self.log), **facts}), flush=True)

    def _state(self) -> str:
        state, folder = runs_of(Path(self.job["root"]), self.job["name"]).get(self.job["seed"], (NOT_BEGUN, None))
        self.folder = None if state == NOT_BEGUN else folder
        if self.folder:
            self._move_log(self.folder)
        return state

    def _words(self, state: str) -> list[str]:
        if state == NOT_BEGUN:
            return ["fit", *self.job["words"], "--log_root", self.job["root"]]
        config = ["-c", str(self.folder and self.folder / "config.yaml")]
        return ["test", *config] if state == TRAINED else ["fit", *config, "--ckpt_path", "last"]

    def _call(self, words: list[str]) -> int:
        """Run `nablafx WORDS` to its end and tell of it; its exit status."""
        assert self.lock is not None, "a keeper has its trial's lock"
        threads = str(self.job["threads"])
        known = set(folders_of(Path(self.job["root"]), self.job["name"]))
        with self.log.open("a") as log:
            print(f"{_CALLED}{' '.join(words)}", file=log, flush=True)
            child = subprocess.Popen(
                [*COMMAND, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**_alone(os.environ), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                start_new_session=True,
                pass_fds=[self.lock.fileno()],
            )
        try:
            self.tell(state="running", task=words[0])
            while child.poll() is None:
                wait(self.lifeline)
                self._look(known)
            self._look(known)
        finally:
            _end(child)
        return child.returncode

    def _look(self, known: set[Path]) -> None:
        """Find the folder of a run that has just begun, and tell of each validation."""
        if self.folder is None:
            for folder, seed in folders_of(Path(self.job["root"]), self.job["name"]).items():
                if folder not in known and seed == self.job["seed"]:
                    self.folder = folder
                    self._move_log(folder)
        if self.folder and self.job["metric"]:
            values = history(self.folder, self.job["metric"])
            for step, value in values[self._told :]:
                self.tell(state="running", task="fit", step=step, value=value)
            self._told = len(values)

    def _move_log(self, folder: Path) -> None:
        """What is written goes on in the run's folder: an open file may be moved."""
        if self.log.parent != folder:
            if self.log.exists() and not (folder / LOG).exists():
                os.rename(self.log, folder / LOG)
            self.log = folder / LOG

    def _last_word(self) -> str:
        """The last line of the log, in brackets: mostly why a run failed."""
        with self.log.open("rb") as log:
            log.seek(max(self.log.stat().st_size - 4096, 0))
            lines = log.read().decode(errors="replace").strip().splitlines()
        line = plain(lines[-1])[:200] if lines else ""
        return f" ({line})" if line and not line.startswith(_CALLED) else ""

    def _unknown_metric(self) -> str:
        """Why the metric that a search looks at cannot be found, or nothing."""
        metric = self.job["metric"]
        self._state()
        if not metric or not self.folder or history(self.folder, metric):
            return ""
        columns = [name for row in _rows(self.folder)[:1] for name in row]
        near = get_close_matches(metric, columns, 1, 0.4)
        return f"history.csv has no values of {metric}; {f'did you mean {near[0]}?' if near else ', '.join(columns)}"


def history(folder: Path, metric: str) -> list[tuple[int, float]]:
    """(optimizer step, value) of a column of a run's history.csv, as far as it is written."""
    found = []
    for row in _rows(folder):
        if row.get(metric):
            try:
                found.append((int(row["step"]), float(row[metric])))
            except ValueError:
                break  # the rest of the row is not there yet
    return found


def _rows(folder: Path) -> list[dict[str, str]]:
    try:
        with (folder / "history.csv").open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError:
        return []


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[IO[str]]:
    """Hold a file's lock, after whoever holds it, and the processes that it handed it to, have ended.

    `waiting` is called again and again until then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
        yield file


def lock_of(root: str | Path, name: str, seed: int) -> Path:
    """The file whose lock is a trial's."""
    return Path(root) / name / f".seed-{seed}.lock"


def _alone(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what a job that Ray was begun in says of its own processes: a trial is none of them."""
    ranks = ("LOCAL_RANK", "RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    return {key: value for key, value in environment.items() if key not in ranks and not key.startswith("SLURM_")}


def wait(lifeline: int) -> None:
    """A moment; SystemExit where the other end of a pipe is closed."""
    if select.select([lifeline], [], [], POLL_S)[0] and not os.read(lifeline, 1):
        sys.exit(1)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a command and all that it started, as pre-emption does, and where it does not heed that, by force."""
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def main() -> None:
    """Keep the trial of the job in the first line of the input."""
    # on their way out workers of Ray kill their own children, which then could not end theirs
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGTERM, _leave)
    job = json.loads(sys.stdin.readline())
    keeper = Keeper(job)
    try:
        with locked(lock_of(job["root"], job["name"], job["seed"]), partial(wait, 0)) as keeper.lock:
            keeper.run()
    except BrokenPipeError:
        os._exit(1)  # nobody listens
    except OSError as error:
        keeper.tell(state="failed", problem=str(error))


def _leave(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
