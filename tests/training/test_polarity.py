"""A device that inverts: the published losses may leave a net upside down, ours does not."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from nablafx.data import PairedAudioDataModule
from nablafx.effects import LSTM
from nablafx.training.losses import MultiResolutionSTFT, Term, WeightedSum
from nablafx.training.schedules import PlateauSchedule
from nablafx.training.system import System

from .small import trainer

RATE = 48_000


@pytest.fixture(scope="module")
def inverting(tmp_path_factory):
    """A second of plucked strings through -0.8 tanh 3x."""
    folder, random, t = tmp_path_factory.mktemp("inverting"), np.random.default_rng(0), np.arange(RATE) / RATE
    x = np.zeros(RATE)
    for _ in range(12):
        start, hz = random.integers(RATE), 80.0 * 2.0 ** random.uniform(0.0, 4.0)
        since = t[: RATE - start]
        x[start:] += np.exp(-8.0 * since) * np.sin(2.0 * np.pi * hz * since)
    x *= 0.8 / np.abs(x).max()
    for place, audio in (("dry/trainval/a.input.wav", x), ("wet/trainval/a.target.wav", -0.8 * np.tanh(3.0 * x))):
        (folder / place).parent.mkdir(parents=True)
        soundfile.write(folder / place, audio, RATE, subtype="FLOAT")
    return folder


def trained(folder, tmp_path, loss, **recipe) -> tuple[float, float]:
    """Correlation to the device and ESR of one net, from one seed, on all of the audio."""
    torch.manual_seed(0)
    system = System(LSTM(hidden_size=8), loss, lr=0.01, tbptt_samples=1200, **recipe)
    data = PairedAudioDataModule(str(folder / "dry"), str(folder / "wet"), segment_length=4800, batch_size=4)
    trainer(tmp_path, max_steps=160, limit_val_batches=0).fit(system, data)
    x, y = (
        torch.from_numpy(soundfile.read(folder / place, dtype="float32")[0]).reshape(1, 1, -1)
        for place in ("dry/trainval/a.input.wav", "wet/trainval/a.target.wav")
    )
    heard = system.render(x)
    return float((heard * y).sum() / (heard.norm() * y.norm())), float((heard - y).square().sum() / y.square().sum())


PUBLISHED = {
    "STFT alone": {"mrstft": Term(MultiResolutionSTFT())},
    "half and half": {"l1": Term(nn.L1Loss(), 0.5), "mrstft": Term(MultiResolutionSTFT(), 0.5)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipe_ends_inverted(inverting, tmp_path, name):
    recipe = {"schedule": PlateauSchedule(), "initialise": False}
    correlation, esr = trained(inverting, tmp_path, WeightedSum(PUBLISHED[name]), **recipe)
    assert correlation < -0.9
    assert esr > 2.0


def test_ours_does_not(inverting, tmp_path):
    correlation, esr = trained(inverting, tmp_path, None)
    assert correlation > 0.95
    assert esr < 0.1
