"""Small Systems, trainers and data for the tests of training."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import nn

from nablafx.conditioning import FiLM, TVFiLM
from nablafx.data import PairedAudioDataModule
from nablafx.effects import LSTM, TCN
from nablafx.training.losses import ESRLoss, MultiResolutionSTFT, Term, WeightedSum
from nablafx.training.system import System

SEGMENT = 4800


def data(demo, **kwargs):
    options = {"controls": ["D", "T"], "segment_length": SEGMENT, "batch_size": 4, **kwargs}
    return PairedAudioDataModule(str(demo.dry), str(demo.wet), **options)


def system(effect=None, **kwargs):
    """A System around an effect, or around what a function makes; the same weights each time."""
    torch.manual_seed(0)
    effect = effect() if effect and not isinstance(effect, nn.Module) else effect
    kwargs.setdefault("loss", WeightedSum({"esr": Term(ESRLoss()), "mrstft": Term(MultiResolutionSTFT(), 0.1)}))
    effect = effect or TCN(2, num_blocks=2, channel_width=4, conditioning=FiLM)
    return System(effect, **kwargs)


def trainer(folder, **kwargs):
    options = {
        "default_root_dir": folder,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "accelerator": "cpu",
        **kwargs,
    }
    return pl.Trainer(**options)


def lstm():
    return LSTM(2, hidden_size=4, conditioning=lambda n: TVFiLM(n, num_features=4))
