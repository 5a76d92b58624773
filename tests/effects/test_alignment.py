"""Where a sample goes: the residual is not late, and the receptive field is as far as it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nablafx.effects import GCN, LSTM, S4, TCN

from .committed import GRID, build

SHORT = {"tcn": {"num_blocks": 4, "kernel_size": 5, "dilation_growth": 3, "channel_width": 4}}
SHORT["gcn"] = SHORT["tcn"]


def impulse(at: int = 70, length: int = 200) -> torch.Tensor:
    x = torch.zeros(1, 1, length, dtype=torch.float64)
    x[..., at] = 0.3
    return x


def zero(*modules: nn.Module) -> None:
    with torch.no_grad():
        for module in modules:
            for p in module.parameters():
                p.zero_()


def moved(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What x changes in the output."""
    return (model(x)[0] - model(torch.zeros_like(x))[0]).detach()


def only_at(y: torch.Tensor, at: int) -> bool:
    elsewhere = y.clone()
    elsewhere[..., at] = 0
    return bool(y[..., at].abs() > 1e-4) and bool((elsewhere.abs() < 1e-14).all())


def test_tcn_passes_an_impulse_through_zero_convolutions_at_once():
    torch.manual_seed(0)
    model = TCN(**SHORT["tcn"], output_activation="none").double()
    zero(*(block.conv for block in model.blocks))
    y = moved(model, impulse())
    assert only_at(y, 70)
    gain = torch.ones(4, 1, dtype=torch.float64)
    for block in model.blocks:
        gain = gain * block.residual.weight
    torch.testing.assert_close(y[..., 70].squeeze(), 0.3 * (model.mix.weight[0, :, 0] @ gain[:, 0]))


def test_gcn_passes_an_impulse_through_zero_convolutions_at_once():
    """Its output hears gated features alone: the last convolution is there, with its newest tap."""
    torch.manual_seed(0)
    model = GCN(**SHORT["gcn"]).double()
    zero(*(block.conv for block in model.blocks[:-1]))
    with torch.no_grad():
        model.blocks[-1].conv.weight[..., :-1] = 0
    assert only_at(moved(model, impulse()), 70)


def test_s4_passes_an_impulse_through_zero_systems_at_once():
    torch.manual_seed(0)
    model = S4(channel_width=4).double()
    with torch.no_grad():
        for block in model.blocks:
            block.ssm.C.zero_()
            block.ssm.D.zero_()
    assert only_at(moved(model, impulse()), 70)


@pytest.mark.parametrize("cls", [TCN, GCN])
def test_newest_taps_and_residuals_meet_at_one_sample(cls):
    """With every older tap at zero the net is memoryless: both ways through each block lead to the same sample."""
    torch.manual_seed(0)
    model = cls(**SHORT["tcn"]).double()
    with torch.no_grad():
        for block in model.blocks:
            block.conv.weight[..., :-1] = 0
    assert only_at(moved(model, impulse()), 70)
    x = torch.randn(1, 1, 50, dtype=torch.float64)
    shuffled = torch.randperm(50)
    torch.testing.assert_close(model(x[..., shuffled])[0], model(x)[0][..., shuffled])


def reach(model: nn.Module, extra: int = 3) -> int:
    """Samples of input that the last output depends on, by its gradient; a few more are offered."""
    x = torch.randn(1, 1, model.receptive_field + extra, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0][0, 0, -1], x)
    return x.shape[-1] - int(gradient[0, 0].nonzero()[0])


@pytest.mark.parametrize("kind", ["tcn", "gcn"])
@pytest.mark.parametrize("size", GRID)
def test_receptive_field_of_the_grid(kind, size):
    """As the grid gives it, and as measured."""
    blocks, kernel, growth = GRID[size]
    torch.manual_seed(0)
    # the width has no part in it, and costs time where the field is seconds long
    model = build(f"{kind}/{size}", channel_width=4).double().requires_grad_(False)
    assert model.receptive_field == 1 + sum((kernel - 1) * growth**n for n in range(blocks))
    assert reach(model) == model.receptive_field


@pytest.mark.parametrize("kind", ["tcn", "gcn"])
@pytest.mark.parametrize("options", [{}, {"stack_size": 2}, {"kernel_size": 1}, {"channel_growth": 2}], ids=str)
def test_receptive_field_is_where_changes_end(kind, options):
    """A sample just outside leaves the output, one just inside changes it."""
    torch.manual_seed(0)
    cls = {"tcn": TCN, "gcn": GCN}[kind]
    model = cls(**{**SHORT[kind], **options}).double()
    field, n = model.receptive_field, 250
    x = torch.randn(1, 1, n + 1, dtype=torch.float64)
    y, _ = model(x)
    for lag, changes in ((field, False), (field - 1, True), (0, True)):
        other = x.clone()
        other[..., n - lag] += 1
        assert torch.equal(model(other)[0][..., n], y[..., n]) != changes, lag


def test_no_receptive_field_where_memory_is_unbounded():
    assert LSTM().receptive_field is None
    assert S4().receptive_field is None
