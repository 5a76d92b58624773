"""Watchers: the first step that went wrong is the one that is told, and nothing waits until somebody looks."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

from nablafx.errors import UserError
from nablafx.training.losses import WeightedSum, deaf_to_polarity
from nablafx.training.watch import NonFiniteLossError, NonFiniteWatch, check_validation_loss, inversion_message

from ..conftest import ROOT

CHECKPOINT = "The last good checkpoint is runs/last.ckpt."


def watched(losses: dict[int, float]) -> NonFiniteWatch:
    watch = NonFiniteWatch()
    for step, loss in losses.items():
        watch.note(torch.tensor(loss, requires_grad=True), step, [f"file-{step}", "other"])
    return watch


def test_finite_losses_pass():
    watch = watched({0: 1.0, 1: 1e30, 2: 0.0, 3: -5.0})
    watch.look(CHECKPOINT)
    watch.look(CHECKPOINT)


def test_nothing_noted_nothing_said():
    NonFiniteWatch().look(CHECKPOINT)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [0, 3, 100_000])
def test_a_loss_that_is_no_number_is_told(bad, step):
    watch = watched({step: bad})
    with pytest.raises(NonFiniteLossError) as told:
        watch.look(CHECKPOINT)
    message = str(told.value)
    assert f"at step {step}, on the segments file-{step}, other" in message
    assert CHECKPOINT in message
    assert "model.lr" in message
    assert "model.gradient_clip_val" in message
    assert isinstance(told.value, UserError)


def test_the_first_bad_step_is_told_whatever_follows():
    """NaN stays NaN; and a loss may seem to recover."""
    with pytest.raises(NonFiniteLossError, match="at step 4, on the segments file-4"):
        watched({3: 1.0, 4: math.inf, 5: math.nan, 6: 1.0, 7: math.nan}).look(CHECKPOINT)


def test_looking_often_misses_nothing():
    watch = watched({0: 1.0})
    watch.look(CHECKPOINT)
    watch.note(torch.tensor(1.0), 1, ["fine"])
    watch.look(CHECKPOINT)
    watch.note(torch.tensor(math.nan), 2, ["guilty"])
    watch.note(torch.tensor(math.nan), 3, ["late"])
    with pytest.raises(NonFiniteLossError, match="at step 2, on the segments guilty"):
        watch.look(CHECKPOINT)


class Waits(TorchDispatchMode):
    """Counts the copies of a tensor's value to Python: each would stall an accelerator."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_noting_does_not_wait_and_looking_does_once():
    watch, loss = NonFiniteWatch(), torch.tensor(math.nan)
    with Waits() as waits:
        for step in range(5):
            watch.note(loss, step, [])
    assert waits.count == 0
    with Waits() as waits, pytest.raises(NonFiniteLossError):
        watch.look(CHECKPOINT)
    assert waits.count == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_validation_loss(bad):
    check_validation_loss(0.3, 12, CHECKPOINT)
    with pytest.raises(NonFiniteLossError, match=rf"the validation loss is {bad} after step 12.*runs/last\.ckpt"):
        check_validation_loss(bad, 12, CHECKPOINT)


def test_inversion_is_told_with_its_cause_and_cure():
    message = inversion_message(-0.876, ["mrstft", "loudness"])
    assert "inverted" in message
    assert "correlation -0.88" in message
    assert "The loss terms mrstft, loudness cannot hear polarity." in message
    assert "ESRLoss" in message
    recipes = re.search(r"-c (trainer/\w+\.yaml), (\w+\.yaml) or (\w+\.yaml)", message)
    for name in recipes.groups():
        # where ours say nothing of the loss, it is the default, which hears polarity; else they have that term, too
        recipe = yaml.safe_load((ROOT / "cfg/trainer" / Path(name).name).read_text())
        terms = recipe.get("model", {}).get("loss", {}).get("init_args", {}).get("terms")
        assert terms is None or terms["esr"] == {"loss": "ESRLoss"}
    assert set(deaf_to_polarity(WeightedSum())) == {"mrstft"}
    assert "cannot hear" not in inversion_message(-0.9, [])
