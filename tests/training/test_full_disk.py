"""Checkpoints on a disk that is full: told, tried again, and an error only where the end of a training is lost."""

from __future__ import annotations

import errno
import os

import lightning.pytorch as pl
import pytest

from nablafx.errors import UserError
from nablafx.training import saving
from nablafx.training.checkpoints import read_checkpoint
from nablafx.training.saving import DurableCheckpointIO

from .test_saving import Training


class Full(DurableCheckpointIO):
    """No space is left between two steps."""

    def __init__(self, start, stop):
        self.start, self.stop = start, stop

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        if self.start <= checkpoint["global_step"] < self.stop:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().save_checkpoint(checkpoint, path, storage_options)


class FillDisk(pl.Callback):
    def __init__(self, start, stop):
        self.plugin = Full(start, stop)

    def on_fit_start(self, trainer, pl_module):
        trainer.strategy.checkpoint_io = self.plugin


def test_a_full_disk_is_told_once_and_the_checkpoint_tried_again(knobbed, tmp_path):
    training = Training(knobbed, tmp_path / "run", max_epochs=4, limit_train_batches=2)
    with pytest.warns(UserWarning, match="could not be written.*No space left") as told:
        _, _, best, _, _ = training.run(extra=[FillDisk(3, 7)])
    assert sum("could not be written" in str(warning.message) for warning in told) == 1
    folder = tmp_path / "run/checkpoints"
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 8
    kept = read_checkpoint(folder / "best.ckpt")
    assert kept["global_step"] == 8, "the loss falls at each of these validations"
    # what could not be written is not in the books
    (books,) = (state for key, state in kept["callbacks"].items() if key.startswith("ModelCheckpoint"))
    assert str(books["best_model_score"]) == best


def test_an_end_that_cannot_be_saved_is_an_error_and_the_old_one_is_kept(knobbed, tmp_path):
    training = Training(knobbed, tmp_path / "run", max_epochs=2, limit_train_batches=2)
    with (
        pytest.warns(UserWarning, match="No space left"),
        pytest.raises(UserError, match=r"could not be saved. Go on from .*last.ckpt"),
    ):
        training.run(extra=[FillDisk(3, 99)])
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 2


def test_a_disk_that_stays_full_ends_the_run(knobbed, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "_ATTEMPTS_S", 0.0)
    training = Training(knobbed, tmp_path / "run", max_epochs=9, limit_train_batches=2)
    with (
        pytest.warns(UserWarning, match="No space left"),
        pytest.raises(UserError, match=r"at 3 occasions in a row.*No space left"),
    ):
        training.run(extra=[FillDisk(3, 99)])
