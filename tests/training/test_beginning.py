"""What a fit takes from the recordings before its first step: once, from audio that trains, and never again."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch

from nablafx.conditioning import FiLM
from nablafx.effects import TCN
from nablafx.training.beginning import HEARD_S

from .small import data, system, trainer


class Listening(TCN):
    """Takes the level of the wet audio for its bias, and writes down what it heard."""

    def __init__(self):
        super().__init__(2, num_blocks=2, channel_width=4, conditioning=FiLM)
        self.heard = []

    def initialise(self, x, y, controls):
        assert not torch.is_grad_enabled()
        self.heard.append((x, y, controls))
        self.mix.bias.fill_(y.std())
        return "level"


def fit(demo, folder, model, checkpoint=None, **options):
    saver = pl.callbacks.ModelCheckpoint(folder / "saved", save_last=True, enable_version_counter=False)
    options = {
        "enable_checkpointing": True,
        "max_epochs": 1,
        "limit_train_batches": 1,
        "limit_val_batches": 1,
        **options,
    }
    run = trainer(folder, callbacks=[saver, *options.pop("callbacks", [])], **options)
    run.fit(model, data(demo), ckpt_path=checkpoint, weights_only=True)
    return folder / "saved/last.ckpt"


class Bias(pl.Callback):
    """Notes the bias at what comes first: sanity check or step."""

    seen: float | None = None

    def on_sanity_check_start(self, trainer, pl_module):
        self.seen = pl_module.effect.mix.bias.item()


def test_a_fresh_fit_hears_training_audio_before_all_else(knobbed, tmp_path, caplog):
    model, bias = system(Listening), Bias()
    with caplog.at_level("INFO"):
        fit(knobbed, tmp_path, model, num_sanity_val_steps=1, callbacks=[bias])
    ((x, y, controls),) = model.effect.heard
    wanted = data(knobbed).training_audio(HEARD_S)
    for got, want in zip((x, y, controls), wanted[:3], strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert bias.seen == pytest.approx(float(wanted.y.std()))
    assert "From the recordings, before training: level" in caplog.text


def test_what_goes_on_or_is_fitted_again_is_left_as_it_is(knobbed, tmp_path):
    model = system(Listening)
    checkpoint = fit(knobbed, tmp_path, model)
    fit(knobbed, tmp_path, model)
    assert len(model.effect.heard) == 1
    resumed = system(Listening)
    fit(knobbed, tmp_path, resumed, checkpoint, max_epochs=2)
    assert resumed.effect.heard == []


def test_it_can_be_switched_off(knobbed, tmp_path):
    model = system(Listening, initialise=False)
    fit(knobbed, tmp_path, model)
    assert model.effect.heard == []


def test_audio_comes_in_the_precision_of_the_weights(knobbed, tmp_path):
    model = system(Listening)
    fit(knobbed, tmp_path, model, precision="64-true")
    assert {track.dtype for track in model.effect.heard[0]} == {torch.float64}


def test_without_a_data_module_nothing_is_asked(knobbed, tmp_path):
    source = data(knobbed)
    source.setup("fit")
    model = system(Listening)
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    run.fit(model, source.train_dataloader())
    assert (run.global_step, model.effect.heard) == (1, [])
