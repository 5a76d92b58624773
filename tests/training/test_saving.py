"""Checkpoints: whole at any moment, and what goes on from one is the run that was never stopped."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor

from nablafx.conditioning import FiLM
from nablafx.effects import TCN
from nablafx.training.checkpoints import read_checkpoint
from nablafx.training.saving import DurableCheckpointIO, RunCheckpoint
from nablafx.training.schedules import PlateauSchedule, WarmupCosine
from nablafx.training.sinks import FileSink
from nablafx.training.stopping import StoppedError
from nablafx.writing import remove_leftovers

from .small import data, lstm, system, trainer

MONITOR = "loss/val/total"
AT_ONCE = 1e-9  # minutes: every batch is due


class Noisy(TCN):
    """Draws from every generator while it trains."""

    def __init__(self):
        super().__init__(2, num_blocks=2, channel_width=4, conditioning=FiLM)

    def forward(self, x, controls=None, state=None):
        y, state = super().forward(x, controls, state)
        if self.training:
            y = y * (1 + 0.1 * torch.rand(()) + 0.1 * random.random() + 0.1 * np.random.rand())
        return y, state


class Copying(RunCheckpoint):
    """Keeps a copy of the folder of checkpoints each time that one is written."""

    def _save_checkpoint(self, trainer, filepath):
        super()._save_checkpoint(trainer, filepath)
        number = len(list(self.copies.iterdir())) if self.copies.exists() else 0
        shutil.copytree(self.dirpath, self.copies / f"{number:03d}")

    @property
    def copies(self):
        return Path(self.dirpath).parents[1] / "copies"


class Training:
    """The same training each time that it is run in a folder, from whatever state the generators are in."""

    def __init__(self, demo, folder, effect=Noisy, tbptt=None, patience=50, plateau=True, **options):
        self.demo, self.folder, self.effect, self.tbptt, self.patience = demo, folder, effect, tbptt, patience
        self.schedule = PlateauSchedule(patience=0) if plateau else WarmupCosine(warm_up=0.3)
        self.options = {"limit_val_batches": 2, "log_every_n_steps": 2, **options}

    def run(self, checkpoint=None, saver=RunCheckpoint, minutes=0.0, seed=0, extra=()):
        names = {"filename": "best", "monitor": MONITOR, "save_last": True, "enable_version_counter": False}
        saver = saver(minutes, dirpath=self.folder / "checkpoints", **names)
        early = EarlyStopping(MONITOR, patience=self.patience, check_on_train_epoch_end=False)
        run = trainer(
            self.folder,
            callbacks=[*extra, saver, early, LearningRateMonitor("step")],
            enable_checkpointing=True,
            logger=FileSink(str(self.folder)),
            **self.options,
        )
        model = system(self.effect, tbptt_samples=self.tbptt, schedule=self.schedule, lr=0.02)
        for set_seed in (torch.manual_seed, np.random.seed, random.seed):
            set_seed(seed)
        run.fit(model, data(self.demo), ckpt_path=checkpoint, weights_only=True)
        return outcome(self.folder, model, run)


def outcome(folder, model, run):
    """All that two equal runs have in common."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = run.optimizers[0].state_dict()
    best = str(run.checkpoint_callback.best_model_score)
    return weights, run.global_step, best, optimizer["param_groups"], (folder / "history.csv").read_text()


def assert_same(a, b, what):
    for name, value in a[0].items():
        assert torch.equal(value, b[0][name]), (what, name)
    assert a[1:4] == b[1:4], what
    assert a[4] == b[4], (what, "history.csv")


RUNS = {
    "epochs": {"max_epochs": 3},
    "truncated": {"max_epochs": 2, "effect": lstm, "tbptt": 1280, "plateau": False},
    "validation within epochs": {"max_epochs": 2, "val_check_interval": 2},
    "steps": {"max_steps": 11, "max_epochs": -1, "plateau": False},
    "rare validation": {"max_epochs": 3, "check_val_every_n_epoch": 2},
    "early end": {"max_epochs": 50, "patience": 1, "val_check_interval": 3},
}
IN_BRIEF = ["truncated", "validation within epochs", "steps"]


def go_on_from_each(training, every):
    straight = training.run(saver=Copying, minutes=AT_ONCE)
    history = training.folder / "history.csv"
    copies = sorted((training.folder.parent / "copies").iterdir())
    assert len(copies) > 9
    for copy in copies[1::every]:
        for which in ("last", "best") if every == 1 else ("last",):
            if (copy / f"{which}.ckpt").exists():
                shutil.rmtree(training.folder)
                shutil.copytree(copy, training.folder / "checkpoints")
                history.write_text(straight[4])  # the run went on before it was killed
                resumed = training.run(training.folder / f"checkpoints/{which}.ckpt", seed=1)
                assert_same(straight, resumed, f"{copy.name}/{which}")


@pytest.mark.parametrize("name", IN_BRIEF)
def test_some_checkpoints_go_on_to_the_same_end(knobbed, tmp_path, name):
    options = RUNS[name] if name == "steps" else {**RUNS[name], "limit_train_batches": 5}
    go_on_from_each(Training(knobbed, tmp_path / "run", **options), every=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_every_checkpoint_goes_on_to_the_same_end(knobbed, tmp_path, name):
    go_on_from_each(Training(knobbed, tmp_path / "run", **RUNS[name]), every=1)


class Signal(pl.Callback):
    """Sends this process a signal, once, at a batch of training or validation."""

    def __init__(self, number, stage, batch):
        self.number, self.stage, self.batch, self.sent = number, stage, batch, False

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.send("train", trainer, batch_idx)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.send("val", trainer, batch_idx)

    def send(self, stage, trainer, index):
        if (stage, index) == (self.stage, self.batch) and trainer.current_epoch == 1 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "stage", "batch"),
    [(signal.SIGTERM, "train", 1), (signal.SIGTERM, "val", 0), (signal.SIGINT, "train", 4)],
    ids=["in a step", "in validation", "before validation, by Ctrl-C"],
)
def test_a_signal_saves_and_stops_and_the_run_goes_on(knobbed, tmp_path, number, stage, batch):
    options = {"max_epochs": 3, "limit_train_batches": 5, "log_every_n_steps": 1}
    straight = Training(knobbed, tmp_path / "straight", **options).run()
    stopped = Training(knobbed, tmp_path / "stopped", **options)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(StoppedError, match=rf"stopped by {number.name} after step \d+. Go on from .*last.ckpt") as told:
        stopped.run(extra=[Signal(number, stage, batch)])
    assert told.value.status == 128 + number
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    last = stopped.folder / "checkpoints/last.ckpt"
    assert read_checkpoint(last)["global_step"] == 5 + (5 if stage == "val" else batch + 1)
    assert_same(straight, stopped.run(last, seed=1), "resumed")


def test_last_is_that_of_every_validation_also_where_it_is_not_the_best(knobbed, tmp_path):
    class Worse(pl.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            trainer.callback_metrics[MONITOR] = torch.tensor(float(trainer.global_step))

    training = Training(knobbed, tmp_path / "run", max_epochs=2, limit_train_batches=2)
    steps = {}

    class Look(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            for path in (tmp_path / "run/checkpoints").glob("*.ckpt"):
                steps[trainer.current_epoch, path.stem] = read_checkpoint(path)["global_step"]

    training.run(extra=[Look()])
    assert steps == {(1, "best"): 2, (1, "last"): 2}
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 4


class Crash(BaseException):
    """The process is gone: nothing catches it."""


def test_a_crash_at_any_call_of_a_save_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    """Before and after each call that touches the disk, and after half of what is written."""
    path, done = tmp_path / "last.ckpt", []
    old, new = ({"state_dict": {"w": torch.full((9999,), float(n))}, "n": n} for n in (1, 2))
    calls = 0

    def crashing(function, at):
        def call(*args, **kwargs):
            nonlocal calls
            for after in (False, True):
                calls += 1
                if calls == at:
                    raise Crash
                if not after:
                    result = function(*args, **kwargs)
            return result

        return call

    def half_written(self, content):
        nonlocal calls
        for part in (content[: len(content) // 2], content[len(content) // 2 :]):
            with self.open("ab") as file:
                file.write(part)
            calls += 1
            if calls == half_written.at:
                raise Crash

    saver = DurableCheckpointIO()
    for at in range(1, 20):
        path.unlink(missing_ok=True)
        saver.save_checkpoint(old, path)
        calls, half_written.at = 0, at
        with monkeypatch.context() as patched:
            for name in ("open", "fsync", "replace"):
                patched.setattr(os, name, crashing(getattr(os, name), at))
            patched.setattr(Path, "write_bytes", half_written)
            patched.setattr(Path, "unlink", lambda self, missing_ok: None)  # a killed process tidies nothing up
            try:
                saver.save_checkpoint(new, path)
                done.append(at)
            except Crash:
                pass
        content = read_checkpoint(path)
        assert torch.equal(content["state_dict"]["w"], torch.full((9999,), float(content["n"])))
        remove_leftovers(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert done, "it must come to its end without a crash"
    assert done[0] > 10, "all calls must have been seen"


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        function = getattr(os, name)

        def call(*args, name=name, function=function):
            target = Path(os.readlink(f"/proc/self/fd/{args[0]}")).name if name == "fsync" else Path(args[1]).name
            order.append((name, target))
            return function(*args)

        monkeypatch.setattr(os, name, call)
    DurableCheckpointIO().save_checkpoint({"state_dict": {}}, tmp_path / "last.ckpt")
    temporary = f".{os.getpid()}.last.ckpt"
    assert order == [("fsync", temporary), ("replace", "last.ckpt"), ("fsync", tmp_path.name)]


def test_last_cannot_be_a_link():
    with pytest.raises(ValueError, match="save_last is link"):
        RunCheckpoint(save_last="link")
