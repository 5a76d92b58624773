"""Trials on Ray: this machine, or a cluster, which shares the folders of logs and data."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx.errors import UserError
from nablafx.sweep.keeper import follow
from nablafx.sweep.states import STOP_FILE
from nablafx.writing import replacing

# before Ray is imported: it tells nobody of its use, draws no tables of its own, and leaves signals to us
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
for _name in ("DISABLE_AUTO_CALLBACK_LOGGERS", "DISABLE_STRICT_METRIC_CHECKING", "DISABLE_SIGINT_HANDLER"):
    os.environ[f"TUNE_{_name}"] = "1"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
# a trial without a GPU sees none
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
try:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
except ImportError as _error:
    raise UserError(
        f"a sweep needs Ray, which is not installed ({_error}): pip install 'nablafx[sweep]', in a checkout "
        "pip install -e '.[sweep]'. --list works without it"
    ) from _error

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as Run

    from nablafx.sweep.board import Board
    from nablafx.sweep.spec import Asha, Search


class Stop(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, between two steps of Tune: Ray's own threads do not bear exceptions at any place."""


_asked: list[int] = []  # signals that came
LOST = 20  # workers that a trial may lose before it is given up
_STORE_BYTES = 80 * 2**20  # of Ray's shared memory, through which nothing of size goes


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray on this machine, or the cluster of an address.

    Raises:
        UserError: there is no cluster at the address.
    """
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else local),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--address {address}: {str(error).splitlines()[0]}; `ray start --head` begins one") from error
    # of a lost worker the board tells, without a traceback
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    # after Ray has set its own
    _asked.clear()
    before = {number: signal.signal(number, _remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        ray.shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)


def _remember(number: int, _frame: object) -> None:
    _asked.append(number)
    signal.signal(number, signal.SIG_DFL)  # whoever asks twice does not want to wait


def gpus_for(given: float | None) -> float:
    """GPUs of a trial: as given, or one where there are any."""
    return given if given is not None else float("GPU" in ray.cluster_resources())


def check_room(cpus: int, gpus: float) -> None:
    """Raise UserError where no machine has room for a trial."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for need, kind in ((cpus, "CPU"), (gpus, "GPU")):
        most = max((machine.get(kind, 0) for machine in machines), default=0)
        if need > most:
            raise UserError(
                f"a trial needs {need:g} {kind}, and no machine has more than {most:g}; set --{kind.lower()}s"
            )


def run_jobs(
    jobs: Sequence[dict[str, Any]], board: Board, *, cpus: int, gpus: float, search: Search | None
) -> dict[tuple[str, int], dict[str, Any]]:
    """Run each job (see `follow`) once to its end; returns by name and seed what each told last."""
    watch = Watch(board)
    # what Tune remembers is in the runs' folders already
    storage = tempfile.mkdtemp(prefix=".tune-", dir=jobs[0]["root"])
    try:
        tune.Tuner(
            tune.with_resources(trial, {"cpu": cpus, "gpu": gpus}),
            param_space={"job": tune.grid_search([json.dumps(job) for job in jobs])},
            tune_config=tune.TuneConfig(scheduler=_asha(search, search.asha) if search and search.asha else None),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(Path(storage).resolve()),
                failure_config=tune.FailureConfig(max_failures=LOST),
                callbacks=[watch],
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    return watch.ends


def trial(config: dict[str, str]) -> None:
    """What a worker does: it passes on what the trial's keeper tells. A lost worker's trial begins again elsewhere."""
    for event in follow(json.loads(config["job"])):
        tune.report(event)


def _asha(search: Search, asha: Asha) -> ASHAScheduler:
    return ASHAScheduler(
        time_attr="step",
        metric="value",
        mode=search.mode,
        grace_period=asha.grace_steps,
        reduction_factor=asha.reduction_factor,
        max_t=10**9,  # rungs go on as long as a trainer does
        stop_last_trials=False,
    )


class Watch(tune.Callback):
    """Passes on to the board what Tune hears, and writes down which runs a scheduler has ended."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.ends: dict[tuple[str, int], dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its callbacks, to go on with them; a sweep goes on by what lies in its runs' folders
        return {}

    def on_step_begin(self, iteration: int, trials: list[Run], **info: Any) -> None:
        if _asked:
            raise Stop(_asked[0])

    def on_trial_start(self, iteration: int, trials: list[Run], trial: Run, **info: Any) -> None:
        self.board.begin(*_id(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Run], trial: Run, result: dict[str, Any], **info: Any
    ) -> None:
        self.board.tell(*_id(trial), result)

    def on_trial_complete(self, iteration: int, trials: list[Run], trial: Run, **info: Any) -> None:
        told = trial.last_result
        if told.get("state") == "running":
            told = {**told, "state": "stopped"}
            said = {"by": "asha", "step": told["step"], "value": told["value"]}
            with replacing(Path(told["folder"]) / STOP_FILE) as temporary:
                temporary.write_text(json.dumps(said) + "\n")
        self._end(trial, told)

    def on_trial_recover(self, iteration: int, trials: list[Run], trial: Run, **info: Any) -> None:
        self.board.lose(*_id(trial))

    def on_trial_error(self, iteration: int, trials: list[Run], trial: Run, **info: Any) -> None:
        last = str(trial.get_error()).strip().splitlines()[-1:]
        problem = f"{LOST} workers were lost or could not begin it ({', '.join(last)})"
        self._end(trial, {"log": trial.last_result.get("log"), "problem": problem, "state": "failed"})

    def _end(self, trial: Run, told: dict[str, Any]) -> None:
        self.ends[_id(trial)] = told
        self.board.end(*_id(trial), told)


def _id(trial: Run) -> tuple[str, int]:
    job = json.loads(trial.config["job"])
    return job["name"], job["seed"]
