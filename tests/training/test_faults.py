"""What a run says and spares when it goes wrong, and that nothing in a step waits for the accelerator."""

from __future__ import annotations

import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from nablafx.conditioning import FiLM, TVFiLM
from nablafx.data import PairedAudioDataModule
from nablafx.effects import LSTM, TCN
from nablafx.training.handshake import HandshakeError
from nablafx.training.losses import MultiResolutionSTFT, Term, WeightedSum
from nablafx.training.watch import NonFiniteLossError

from .small import data, system, trainer


@pytest.fixture
def demo(knobbed):
    return knobbed


class Exploding(nn.Module):
    """Finite until call number `at`."""

    def __init__(self, at):
        super().__init__()
        self.calls, self.at = 0, at

    def forward(self, prediction, target):
        self.calls += 1
        return (prediction - target).square().mean() * (float("nan") if self.calls > self.at else 1.0)


def test_a_loss_that_is_no_number_stops_the_run_and_spares_the_checkpoint(demo, tmp_path):
    batches = len(list_of(demo, "train"))
    # one call checks that the loss takes the segments, then an epoch with its validation, then two steps more
    validations = len(list_of(demo, "val"))
    model = system(loss=WeightedSum({"bad": Term(Exploding(1 + batches + validations + 2))}))
    saver = pl.callbacks.ModelCheckpoint(tmp_path, monitor="loss/val/total", save_last=True)
    run = trainer(tmp_path, max_epochs=5, callbacks=[saver], enable_checkpointing=True)
    with pytest.raises(NonFiniteLossError) as caught:
        run.fit(model, data(demo))
    message = str(caught.value)
    assert f"at step {batches + 2}" in message
    assert str(tmp_path / "last.ckpt") in message
    assert ".target@" in message
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert all(v.isfinite().all() for v in kept["state_dict"].values())


def list_of(demo, side):
    source = data(demo)
    source.setup("fit")
    return list(source.train_dataloader() if side == "train" else source.val_dataloader())


def test_inverted_output_is_told_once_with_the_cure(demo, tmp_path):
    class Inverted(TCN):
        def forward(self, x, controls=None, state=None):
            y, state = super().forward(x, controls, state)
            return 0 * y - torch.tanh(3 * x), state

    deaf = WeightedSum({"mrstft": Term(MultiResolutionSTFT())})
    model = system(Inverted(2, num_blocks=2, channel_width=4, conditioning=FiLM), loss=deaf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, max_epochs=3).fit(model, data(demo))
    told = [str(w.message) for w in caught if "inverted" in str(w.message) and "output" in str(w.message)]
    assert len(told) == 1
    assert "mrstft cannot hear polarity" in told[0]
    assert "ESR" in told[0]


def test_handshake(demo, tmp_path):
    unfit = [
        (system(TCN(2, num_blocks=2, conditioning=TVFiLM), tbptt_samples=1000), {}, "tbptt_samples is 1000.*128"),
        (system(TCN(2, num_blocks=2, conditioning=TVFiLM)), {"context": 100}, "context is 100.*128"),
        (system(TCN(num_blocks=2)), {}, r"2 controls \(D, T\), and the effect TCN takes none"),
        (system(), {"segment_length": 500}, "segment_length or model.tbptt_samples is too short"),
        (system(tbptt_samples=512), {}, "segment_length or model.tbptt_samples is too short"),
    ]
    for model, options, message in unfit:
        with pytest.raises(HandshakeError, match=message):
            trainer(tmp_path, max_epochs=1).fit(model, data(demo, **options))


def test_memory_that_the_effect_cannot_hear_is_told_once(tmp_path):
    """An echo after 300 ms: a TCN of 43 ms is told, an LSTM, whose field is unbounded, is not."""
    x = 0.1 * np.random.default_rng(0).standard_normal(4 * 48_000)
    y = x + 0.5 * np.concatenate([np.zeros(14_400), x[:-14_400]])
    for place, audio in (("DRY/trainval/a.input.wav", x), ("WET/trainval/a.target.wav", y)):
        (tmp_path / place).parent.mkdir(parents=True)
        soundfile.write(tmp_path / place, audio, 48_000)
    counts = []
    for effect in (TCN(num_blocks=2, channel_width=4), LSTM(hidden_size=4)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            source = PairedAudioDataModule(str(tmp_path / "DRY"), str(tmp_path / "WET"), segment_length=4800)
            trainer(tmp_path, fast_dev_run=1).fit(system(effect), source)
        told = [str(one.message) for one in caught if "cannot learn that" in str(one.message)]
        assert all("go on for 300 ms" in message and "TCN hears" in message for message in told)
        counts.append(len(told))
    assert counts == [1, 0]


@pytest.mark.gpu
def test_training_step_does_not_wait_for_the_accelerator(demo, tmp_path):
    class Strict(pl.Callback):
        def on_train_batch_start(self, *args):
            torch.cuda.set_sync_debug_mode("error")

        def on_train_batch_end(self, *args):
            torch.cuda.set_sync_debug_mode("default")

    run = trainer(tmp_path, max_epochs=1, limit_train_batches=3, accelerator="gpu", callbacks=[Strict()])
    run.fit(system(), data(demo, cache_on_device=True))
