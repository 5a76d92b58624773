"""Processes of one run that torchrun, SLURM or somebody on each node starts: what they agree on, and how they end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from torch import distributed
from torch.distributed import Store, TCPStore

from nablafx.errors import UserError
from nablafx.training.runs import FOLDER_VARIABLE

_WAIT = timedelta(minutes=5)  # for the first process to be there
_GRACE_S = 10.0  # for processes that fail to say why


def is_first() -> bool:
    """Whether this is the process of a run that writes and tells; known from its start on."""
    names = ("RANK", "SLURM_PROCID") if _environment() else ("NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def agreed(find: Callable[[], str]) -> str:
    """What `find` gives in the first process, in each that a launcher started; the others do not call it.

    Raises:
        UserError: the first one is not heard of.
    """
    store = _store()
    if store is None:
        return find()
    key = f"nablafx/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/run"
    if is_first():
        store.set(key, found := find())
        return found
    try:
        return store.get(key).decode()
    except RuntimeError as error:
        raise UserError(f"the first process of this run is not heard of ({error}); see what ended it") from error


@contextmanager
def ending_together() -> Iterator[list[Trainer]]:
    """Where one of several processes fails, all end, and the first to fail tells why; the list takes the trainer."""
    trainers: list[Trainer] = []
    try:
        yield trainers
    except Exception as error:
        store = distributed.distributed_c10d._get_default_store() if distributed.is_initialized() else _store()
        if store is None:
            raise
        tells = _is_first_to_fail(store)
        for child in [child for trainer in trainers for child in getattr(trainer.strategy.launcher, "procs", ())]:
            _end(child, 0.0 if tells else _GRACE_S)
        if not tells:
            raise SystemExit(getattr(error, "status", 1)) from None
        if _is_of_another(error):
            raise UserError(f"another process of this run has ended, and told no reason ({error})") from error
        raise


def _is_first_to_fail(store: Store) -> bool:
    try:
        return store.add(f"nablafx/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/failed", 1) == 1
    except RuntimeError:
        # whoever kept the store has ended before
        return False


def _is_of_another(error: BaseException) -> bool:
    """Whether it is what an exchange with a process that is gone raises; gloo has no class for it."""
    gloo = isinstance(error, RuntimeError) and any(sign in str(error) for sign in ("gloo", "Connection closed by peer"))
    return gloo or isinstance(error, distributed.DistError)


def _end(process: subprocess.Popen[Any], grace_s: float) -> None:
    """Not by SIGTERM: a process that waits for another one in an exchange handles no signals."""
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()


def _environment() -> ClusterEnvironment | None:
    """Of a launcher that starts all processes by itself, and is none of Lightning's."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and "SLURM_PROCID" in os.environ and int(os.environ["SLURM_NTASKS"]) > 1:
        return SLURMEnvironment()
    return None


@cache
def _store() -> Store | None:
    """Kept by the first process, or torchrun, under the address at which the processes will exchange gradients.

    None for a process on its own, and for one that Lightning starts, which gets the run's folder in its environment.
    """
    environment = _environment()
    is_told = os.environ.get("LOCAL_RANK", "0") != "0" and FOLDER_VARIABLE in os.environ
    if environment is None and not is_told and {"MASTER_ADDR", "NODE_RANK"} <= set(os.environ):
        environment = LightningEnvironment()
    if environment is None:
        return None
    keeps = is_first() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    place = environment.main_address, environment.main_port
    # Lightning's exchange takes the same port, in the same process
    return TCPStore(*place, is_master=keeps, timeout=_WAIT, wait_for_workers=False, multi_tenant=True)
