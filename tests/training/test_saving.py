"""Checkpoints: whole at any moment, and what goes on from one is the run that was never stopped."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor

from nablafx.conditioning import FiLM
from nablafx.effects import TCN
from nablafx.training.saving import RunCheckpoint
from nablafx.training.sinks import FileSink

from .small import data, lstm, system, trainer

MONITOR = "loss/val/total"


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
    """Keeps a copy of every checkpoint."""

    def _save_checkpoint(self, trainer, filepath):
        super()._save_checkpoint(trainer, filepath)
        copies = trainer.default_root_dir + "-copies"
        shutil.copytree(self.dirpath, f"{copies}/{len(list(self.copies(trainer))):03d}-{trainer.global_step}")

    @staticmethod
    def copies(trainer):
        from pathlib import Path

        folder = Path(trainer.default_root_dir + "-copies")
        folder.mkdir(exist_ok=True)
        return folder.iterdir()


def train(folder, checkpoint=None, callback=Copying, effect=Noisy, tbptt=None, seed=0, patience=50, **options):
    """A run in a folder, every batch of which is due to be saved; returns its system and trainer."""
    saver = callback(
        1e-9,
        dirpath=folder / "checkpoints",
        filename="best",
        monitor=MONITOR,
        save_last=True,
        enable_version_counter=False,
    )
    callbacks = [
        saver,
        EarlyStopping(MONITOR, patience=patience, check_on_train_epoch_end=False),
        LearningRateMonitor("step"),
    ]
    run = trainer(
        folder,
        callbacks=callbacks,
        enable_checkpointing=True,
        logger=FileSink(str(folder)),
        log_every_n_steps=1,
        **options,
    )
    model = system(effect, tbptt_samples=tbptt, plateau_patience=0, lr=0.02)
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    run.fit(model, data(demo), ckpt_path=checkpoint, weights_only=True)
    return model, run


@pytest.fixture(autouse=True)
def _data(knobbed):
    global demo
    demo = knobbed


RUNS = {
    "epochs": {"max_epochs": 3},
    "truncated": {"max_epochs": 2, "effect": lstm, "tbptt": 1280},
    "validation within epochs": {"max_epochs": 3, "val_check_interval": 2},
    "steps": {"max_steps": 11, "max_epochs": -1},
    "rare validation": {"max_epochs": 5, "check_val_every_n_epoch": 2},
    "early end": {"max_epochs": 50, "patience": 1, "val_check_interval": 3},
}


@pytest.mark.parametrize("name", RUNS)
def test_every_checkpoint_goes_on_to_the_same_end(tmp_path, name):
    folder = tmp_path / "run"
    straight, run = train(folder, **RUNS[name])
    shutil.copy(folder / "history.csv", tmp_path / "h")
    history = (folder / "history.csv").read_text()
    copies = sorted(Copying.copies(run))
    print(len(copies), run.global_step, run.num_training_batches)
    bad = []
    for copy in copies:
        for which in ("last", "best"):
            if not (copy / f"{which}.ckpt").exists():
                continue
            shutil.rmtree(folder)
            shutil.copytree(copy, folder / "checkpoints")
            (folder / "history.csv").write_text(history)
            resumed, again = train(folder, folder / f"checkpoints/{which}.ckpt", RunCheckpoint, seed=1, **RUNS[name])
            problems = []
            if again.global_step != run.global_step:
                problems.append(("steps", again.global_step, run.global_step))
            if not all(
                torch.equal(a, b) for a, b in zip(straight.state_dict().values(), resumed.state_dict().values())
            ):
                problems.append("weights")
            if (folder / "history.csv").read_text() != history:
                problems.append("history")
                (tmp_path / f"h{copy.name}{which}").write_text((folder / "history.csv").read_text())
            if str(again.checkpoint_callback.best_model_score) != str(run.checkpoint_callback.best_model_score):
                problems.append("best")
            if problems:
                bad.append((copy.name, which, problems))
    for b in bad:
        print(b)
    assert not bad
