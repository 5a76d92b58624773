"""The optimizer's groups as the System makes them, and the schedule."""

from __future__ import annotations

import copy

import pytest
import torch

from nablafx.conditioning import FiLM, TFiLM, TVFiLM
from nablafx.effects import GCN, LSTM, S4, TCN, Effect
from nablafx.training.schedules import PlateauSchedule
from nablafx.training.system import System

SSM = ("log_dt", "log_A_real", "A_imag")


def configured(effect: Effect, **kwargs) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    # rates as they are at the full
    made = System(effect, **{"schedule": PlateauSchedule(), **kwargs}).configure_optimizers()
    return made["optimizer"], made["lr_scheduler"]["scheduler"]


def options(effect: Effect, **kwargs) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter, by its name; each is in one group."""
    optimizer, _ = configured(effect, **kwargs)
    names = {id(p): name for name, p in effect.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            assert names[id(p)] not in found, "in two groups"
            found[names[id(p)]] = (group["lr"], group["weight_decay"])
    return found


@pytest.mark.parametrize("rate", [1e-3, 2e-4, 0.01])
def test_s4_systems_have_their_own_rate_and_no_decay(rate):
    """Also where that rate is everybody's."""
    found = options(S4(s4_learning_rate=rate), lr=0.01, weight_decay=0.02)
    own = {name for name in found if name.rpartition(".")[2] in SSM}
    assert own == {f"blocks.{n}.ssm.{name}" for n in range(4) for name in SSM}
    for name, option in found.items():
        assert option == ((rate, 0.0) if name in own else (0.01, 0.02)), name


def test_what_has_no_decay_stays_without_a_gradient():
    """A step of zero gradients multiplies all others by 1 - lr · weight decay."""
    torch.manual_seed(0)
    effect = S4()
    optimizer, _ = configured(effect, lr=0.1, weight_decay=0.5)
    before = {name: p.detach().clone() for name, p in effect.named_parameters()}
    for p in effect.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in effect.named_parameters():
        kept = 1.0 if name.rpartition(".")[2] in SSM else 0.95
        torch.testing.assert_close(p.detach(), kept * before[name], msg=name)


def test_optimizer_is_the_published_one():
    optimizer, schedule = configured(TCN())
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.01)
    assert (schedule.factor, schedule.patience, schedule.mode) == (0.5, 20, "min")


def test_the_longest_prefix_wins():
    multipliers = {"blocks": 0.1, "blocks.1": 0.01, "blocks.1.conv.bias": 3.0, "mix.bias": 2.0}
    found = options(TCN(num_blocks=12), lr=1.0, weight_decay=0.0, lr_multipliers=multipliers)
    for name, (rate, _) in found.items():
        expected = 0.1 if name.startswith("blocks.") else 1.0
        if name.startswith("blocks.1."):  # and not blocks.10
            expected = 3.0 if name == "blocks.1.conv.bias" else 0.01
        assert rate == pytest.approx(2.0 if name == "mix.bias" else expected), name


def test_multipliers_reach_rates_that_the_effect_sets():
    found = options(S4(s4_learning_rate=1e-3), lr=0.01, lr_multipliers={"blocks.0": 0.5})
    assert found["blocks.0.ssm.log_dt"] == (pytest.approx(5e-4), 0.0)
    assert found["blocks.1.ssm.log_dt"] == (pytest.approx(1e-3), 0.0)
    assert found["blocks.0.ssm.C"] == (pytest.approx(0.005), 0.01)


@pytest.mark.parametrize("part", ["block", "blocks.7", "conditioning.mlp", "blocks.0.con"])
def test_an_unknown_part_is_told(part):
    with pytest.raises(ValueError, match=rf"TCN has no part '{part}'; its parts are blocks.0, .*blocks.4, mix"):
        options(TCN(), lr_multipliers={"blocks.0": 0.1, part: 0.1})


@pytest.mark.parametrize(
    "make",
    [
        lambda: LSTM(2, conditioning=TVFiLM),
        lambda: TCN(2, conditioning=FiLM, direct_path=True, act_type="prelu"),
        lambda: GCN(2, conditioning=TFiLM),
        lambda: S4(2, conditioning=TVFiLM, act_type="rational"),
    ],
    ids=["lstm", "tcn", "gcn", "s4"],
)
@pytest.mark.parametrize("multiplied", [False, True])
def test_every_learned_parameter_is_in_exactly_one_group(make, multiplied):
    effect = make()
    names = [name for name, p in effect.named_parameters() if p.requires_grad]
    found = options(effect, lr_multipliers={names[0].partition(".")[0]: 0.1} if multiplied else None)
    assert found.keys() == set(names)
    # and learned is whatever the output hears
    effect.requires_grad_(True)(torch.randn(1, 1, 256), torch.rand(1, 2))[0].sum().backward()
    assert set(names) == {name for name, p in effect.named_parameters() if p.grad is not None}


def test_frozen_parameters_are_left_out():
    effect = TCN()
    effect.mix.requires_grad_(False)
    found = options(effect)
    assert found.keys() == {name for name, _ in effect.named_parameters() if not name.startswith("mix.")}


def test_groups_have_names_of_their_own():
    """The learning-rate log is by these."""
    optimizer, _ = configured(S4(), lr_multipliers={"mix": 0.1, "expand": 0.2})
    names = [group["name"] for group in optimizer.param_groups]
    assert len(set(names)) == len(names) == 4
    assert "base" in names


def test_plateau_scales_all_groups():
    optimizer, schedule = configured(
        S4(), lr=0.01, lr_multipliers={"mix": 0.1}, schedule=PlateauSchedule(factor=0.25, patience=2)
    )
    before = [group["lr"] for group in optimizer.param_groups]
    assert len(before) == 3
    schedule.step(1.0)
    for _ in range(2):
        schedule.step(1.0)
    assert [group["lr"] for group in optimizer.param_groups] == before
    schedule.step(1.0)
    for group, rate in zip(optimizer.param_groups, before, strict=True):
        assert group["lr"] == pytest.approx(rate / 4)
    schedule.step(0.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(before[0] / 4)


def test_fused_steps_are_those_of_a_loop_over_parameters():
    torch.manual_seed(0)
    effect = TCN()
    twin = copy.deepcopy(effect)
    fused, _ = configured(effect, lr=0.01)
    looped = torch.optim.AdamW(twin.parameters(), lr=0.01, foreach=False, fused=False)
    for _ in range(10):
        for p, q in zip(effect.parameters(), twin.parameters(), strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        fused.step()
        looped.step()
    for p, q in zip(effect.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)
