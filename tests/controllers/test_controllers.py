"""Controllers: what they say, when, and within which bounds."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from nablafx.controllers import (
    DynamicCondController,
    DynamicController,
    QuadraticCondController,
    StaticCondController,
    StaticController,
)
from nablafx.effects import GrayBox, Stage
from nablafx.processors import Gain
from nablafx.training.optimizers import parameter_groups

BLOCK = 16


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def follow(controller, x, controls=None):
    """u from silence on."""
    batch = len(x)
    _, state = controller.rest(torch.zeros(batch, 1, 1), controls)
    return controller(x, controls, state)[0]


def test_static_is_the_sigmoid_of_its_vector():
    controller = StaticController(3)
    with torch.no_grad():
        controller.logits.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    u, state = controller(torch.randn(4, 1, 10), None, ())
    torch.testing.assert_close(u.values, torch.tensor([0.26894, 0.5, 0.88080]).view(1, 3, 1), rtol=1e-4, atol=0)
    assert (u.block_size, state) == (None, ())


def test_static_starts_where_it_is_told():
    for init in (0.1, 0.5, 0.9):
        u, _ = StaticController(2, init=init)(torch.zeros(1, 1, 1), None, ())
        torch.testing.assert_close(u.values, torch.full((1, 2, 1), init))
    torch.manual_seed(0)
    drawn = StaticController(1000, init="rnd").logits
    assert abs(drawn.mean().item()) < 0.1
    assert abs(drawn.std().item() - 1) < 0.1


@pytest.mark.parametrize("init", [0.0, 1.0, 2, "normal", None])
def test_wrong_starts_are_told(init):
    with pytest.raises(ValueError, match=r"StaticController: init is .*; it needs a number between 0 and 1, or rnd"):
        StaticController(1, init=init)


def test_static_cond_is_the_published_net():
    controller = StaticCondController(5, 2)
    assert count(controller) == (2 * 16 + 16) + (16 * 16 + 16) + (16 * 5 + 5)
    kinds = [type(layer) for layer in controller.mlp]
    assert kinds == [nn.Linear, nn.Sigmoid] * 3


def test_static_cond_hears_its_knobs_from_the_start():
    """A whole turn of a knob moves a parameter by a tenth and more; from the usual start it was 0.002."""
    torch.manual_seed(0)
    moved, usual = [], []
    for _ in range(50):
        controller = StaticCondController(4, 1)
        moved.append(turn(controller))
        for layer in controller.mlp:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        usual.append(turn(controller))
    assert torch.cat(moved).median() > 0.1
    assert torch.cat(usual).median() < 0.01
    centre, _ = StaticCondController(4, 3)(torch.zeros(1, 1, 1), torch.full((1, 3), 0.5), ())
    torch.testing.assert_close(centre.values, torch.full((1, 4, 1), 0.5))


def turn(controller) -> torch.Tensor:
    """How far u moves while the one knob goes from 0 to 1."""
    with torch.no_grad():
        u, _ = controller(torch.zeros(2, 1, 1), torch.tensor([[0.0], [1.0]]), ())
    return (u.values[1] - u.values[0]).abs().flatten()


def test_dynamic_counts_are_the_published_ones():
    assert count(DynamicController(1)) == 16
    assert count(DynamicCondController(1, 4)) == 4 * (5 + 1) + 8
    assert count(DynamicController(3, hidden_size=8)) == 4 * 8 * (1 + 8) + 64 + 27


def test_dynamic_hears_the_peak_of_its_block():
    """u holds over a block, and is what an LSTM makes of the peaks."""
    controller = DynamicController(2, block_size=BLOCK)
    x = torch.randn(3, 1, 4 * BLOCK)
    u = follow(controller, x)
    assert (u.block_size, u.offset, u.values.shape) == (BLOCK, 0, (3, 2, 4))
    peaks = x.abs().view(3, 4, BLOCK).amax(-1, keepdim=True)
    h, c = (s.transpose(0, 1) for s in controller.rest(torch.zeros(3, 1, 1), None)[1][1:])
    out, _ = nn.LSTM.forward(controller.listener.lstm, peaks, (h.contiguous(), c.contiguous()))
    torch.testing.assert_close(u.values, torch.sigmoid(out).transpose(1, 2))


@pytest.mark.parametrize("lookahead", [True, False])
def test_what_a_block_is_governed_by(lookahead):
    controller = DynamicController(1, block_size=BLOCK, lookahead=lookahead, hidden_size=4)
    x = torch.zeros(1, 1, 4 * BLOCK)
    changed = x.clone()
    changed[..., 2 * BLOCK + 3] = 1
    before, after = follow(controller, x), follow(controller, changed)
    differs = (before.at_samples(4 * BLOCK) != after.at_samples(4 * BLOCK))[0, 0]
    assert differs.nonzero().min() == (2 if lookahead else 3) * BLOCK
    assert controller.frame_size == (BLOCK if lookahead else 1)


def test_range_of_the_published_form_and_of_the_read_out():
    loud = torch.ones(1, 1, 100 * BLOCK)
    published, free = DynamicController(1, block_size=BLOCK), DynamicController(1, block_size=BLOCK, hidden_size=2)
    with torch.no_grad():
        for controller in (published, free):
            for p in controller.parameters():
                p.fill_(20.0)
    assert follow(published, loud).values.max().item() == pytest.approx(0.7311, abs=1e-3)
    assert follow(free, loud).values.max().item() > 0.999


def test_conditioned_controllers_hear_the_knobs():
    for controller in (StaticCondController(2, 3), DynamicCondController(2, 3, block_size=BLOCK)):
        x = torch.randn(1, 1, 2 * BLOCK).expand(2, -1, -1)
        u = follow(controller, x, torch.tensor([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]])).values
        assert not torch.allclose(u[0], u[1])


@pytest.mark.parametrize(("kind", "other"), [(StaticCondController, "Static"), (DynamicCondController, "Dynamic")])
def test_conditioned_controllers_need_controls(kind, other):
    message = rf"{kind.__name__} is steered by the device's controls, and this data set has none.*use {other}Controller"
    with pytest.raises(ValueError, match=message):
        kind(2, 0)


def test_quadratic_cond_bends_where_the_recordings_tell_it_to():
    """A knob recorded at two values gets no curve: what is learned of it there is a straight line of the logits."""
    torch.manual_seed(0)
    controller = QuadraticCondController(3, 2).double()
    settings = torch.cartesian_prod(torch.tensor([0.0, 0.3, 0.6, 1.0]), torch.tensor([0.2, 0.8])).double()
    controller.learn_settings(settings.repeat(2, 1))
    products = torch.stack([(2 * settings[:, i] - 1) * (2 * settings[:, j] - 1) for i, j in controller.pairs], dim=1)
    torch.testing.assert_close(controller.mean, products.mean(0))
    u, _ = controller(torch.zeros(8, 1, 1).double(), settings, ())
    torch.logit(u.values).square().sum().add(torch.logit(u.values).sum()).backward()
    by_pair = dict(zip(controller.pairs, controller.curvature.grad.T, strict=True))
    torch.testing.assert_close(by_pair[1, 1], torch.zeros(3).double())
    assert controller.curvature.shape == (3, 3)
    with torch.no_grad():
        controller.curvature[:, 0] = 1.0
    bent = torch.logit(controller(torch.zeros(8, 1, 1).double(), settings, ())[0].values)[:, :, 0]
    torch.testing.assert_close(bent.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-12)


def test_quadratic_cond_starts_where_it_is_told():
    controller = QuadraticCondController(2, 2)
    settings = torch.tensor([[0.1, 0.2], [0.9, 0.8]])
    controller.learn_settings(settings)
    assert controller.start_at(torch.tensor([0.3, float("nan")]))
    u, _ = controller(torch.zeros(2, 1, 1), settings, ())
    torch.testing.assert_close(u.values[..., 0], torch.tensor([[0.3, 0.5]]).expand(2, 2))


@pytest.mark.parametrize(("given", "decay"), [({}, 1.0), ({"weight_decay": 0.0}, 0.0)])
def test_what_knobs_move_decays(given, decay):
    """Where the sound does not ask for a move; the middle of the settings stays as it is learned."""
    chain = GrayBox({"gain": Stage(Gain, partial(QuadraticCondController, **given))}, num_controls=2)
    groups = {group["name"]: group for group in parameter_groups(chain, 0.1, 0.01)}
    decays = {id(p): group["weight_decay"] for group in groups.values() for p in group["params"]}
    controller = chain.stages["gain"].controller
    told = [decays[id(p)] for p in (controller.bias, controller.slope, controller.curvature)]
    assert told == [0.01, decay, decay]
    assert {group["lr"] for group in groups.values()} == {0.1}
