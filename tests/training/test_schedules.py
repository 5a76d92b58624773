"""Schedules: rates by the share of a run that is done, whatever limits it, in each optimizer step."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Timer

from nablafx.training import schedules
from nablafx.training.schedules import PlateauSchedule, ScheduleError, WarmupCosine, progress

from .small import data, lstm, system, trainer


@pytest.mark.parametrize(("warm_up", "floor"), [(0.02, 0.0), (0.1, 0.25), (0.0, 0.0), (0.0, 1.0)])
def test_rates_rise_and_fall_as_the_equation_says(warm_up, floor):
    schedule = WarmupCosine(warm_up, floor)
    for p in torch.linspace(0.0, 1.0, 101, dtype=torch.float64).tolist():
        # the half cosine by another identity
        fall = floor + (1.0 - floor) * math.cos(math.pi * p / 2) ** 2
        assert schedule.factor(p) == pytest.approx(fall if p >= warm_up else fall * p / warm_up, abs=1e-12)
    assert schedule.factor(1.0) == pytest.approx(floor, abs=1e-12)
    assert schedule.factor(0.0) == (0.0 if warm_up else 1.0)


@pytest.mark.parametrize(("name", "share"), [("warm_up", -0.1), ("warm_up", 20), ("floor", 1.5), ("floor", math.nan)])
def test_what_is_no_share_is_refused(name, share):
    with pytest.raises(ValueError, match=f"WarmupCosine: {name} is {share}; it needs a share from 0 to 1"):
        WarmupCosine(**{name: share})


class Rates(pl.Callback):
    """Notes how often the optimizer has stepped and the rates at each step."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append((trainer.global_step, [group["lr"] for group in optimizer.param_groups]))


def rates(demo, folder, tbptt=None, lr_multipliers=None, **limits):
    seen = Rates()
    model = system(
        lstm if tbptt else None,
        tbptt_samples=tbptt,
        schedule=WarmupCosine(0.25),
        lr=0.01,
        lr_multipliers=lr_multipliers,
    )
    run = trainer(folder, callbacks=[seen], limit_val_batches=0, limit_train_batches=4, **limits)
    run.fit(model, data(demo))
    assert [step for step, _ in seen.seen] == list(range(len(seen.seen)))
    return [lr for _, lr in seen.seen]


def wanted(shares, *full):
    return [pytest.approx([lr * WarmupCosine(0.25).factor(p) for lr in full], abs=1e-9) for p in shares]


def test_by_steps_also_where_a_batch_makes_several(knobbed, tmp_path):
    """Three pieces a batch; 7 steps end within the third batch, which Lightning runs to its end."""
    found = rates(knobbed, tmp_path, tbptt=1536, max_steps=7)
    assert found == wanted([min(step / 7, 1.0) for step in range(9)], 0.01)


def test_by_batches_and_in_every_group(knobbed, tmp_path):
    found = rates(knobbed, tmp_path, lr_multipliers={"mix": 0.1}, max_epochs=2)
    assert [sorted(lr) for lr in found] == wanted([batch / 8 for batch in range(8)], 0.001, 0.01)


def test_by_the_limit_that_is_met_first(knobbed, tmp_path):
    """Of 10 steps, 2 epochs of 4 batches and 99 days, the epochs."""
    found = rates(knobbed, tmp_path, max_epochs=2, max_steps=10, max_time="99:00:00:00")
    assert found == wanted([batch / 8 for batch in range(8)], 0.01)


class Clock(Timer):
    """A Timer on a clock of its own."""

    now = 0.0

    def time_elapsed(self, stage="train"):
        return self.now


@pytest.mark.parametrize(("now", "share"), [(0.0, 0.0), (30.0, 0.25), (120.0, 1.0), (150.0, 1.0)])
def test_progress_by_time(tmp_path, now, share):
    clock = Clock({"minutes": 2}, verbose=False)
    run = trainer(tmp_path, max_epochs=-1, callbacks=[clock])
    clock.now = now
    assert progress(run, 0) == pytest.approx(share)


def test_all_processes_go_by_the_clock_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(schedules, "told_by_first", lambda find: find() + 0.25)
    clock = Clock({"minutes": 2}, verbose=False)
    run = trainer(tmp_path, max_epochs=-1, callbacks=[clock])
    clock.now = 60.0
    assert progress(run, 0) == pytest.approx(0.75)


def test_a_run_with_no_end_is_told(knobbed, tmp_path):
    with pytest.raises(ScheduleError, match=r"has no end .* max_epochs 1000.*PlateauSchedule"):
        trainer(tmp_path, max_epochs=-1, max_steps=-1).fit(system(), data(knobbed))
    # a schedule that needs none
    source = data(knobbed)
    run = trainer(tmp_path, max_epochs=-1, callbacks=[Stop()], limit_val_batches=0)
    run.fit(system(schedule=PlateauSchedule()), source)
    assert run.global_step == 1


class Stop(pl.Callback):
    def on_train_batch_end(self, trainer, *args):
        trainer.should_stop = True
