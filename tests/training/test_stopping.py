"""SLURM's queue: the job goes back where SIGUSR1 said that its time is over."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

from nablafx.training.stopping import StopSignals, requeue


def trainer_in(environment):
    return SimpleNamespace(_accelerator_connector=SimpleNamespace(cluster_environment=environment), is_global_zero=True)


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A stub that writes down what it is asked."""
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n[ "$2" != 13 ]\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return tmp_path / "asked"


def test_the_job_is_put_back_where_its_time_is_over(scontrol, monkeypatch):
    job = trainer_in(SLURMEnvironment())
    requeue(job, signal.SIGTERM)
    requeue(trainer_in(SLURMEnvironment(auto_requeue=False)), signal.SIGUSR1)
    requeue(trainer_in(LightningEnvironment()), signal.SIGUSR1)
    assert not scontrol.exists()
    requeue(job, signal.SIGUSR1)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "8")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    requeue(job, signal.SIGUSR1)
    assert scontrol.read_text() == "requeue 7\nrequeue 8_2\n"


def test_a_queue_that_does_not_want_it_is_told(scontrol, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    with pytest.warns(UserWarning, match="the job 13 could not be put into the queue again"):
        requeue(trainer_in(SLURMEnvironment()), signal.SIGUSR1)


def test_the_first_signal_counts_and_a_second_interrupt_stops_at_once():
    signals = StopSignals()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        signals.catch(trainer_in(SLURMEnvironment()))
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGUSR1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
