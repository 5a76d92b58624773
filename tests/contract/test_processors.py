"""What holds for every processor by itself; tests/contract/test_effects.py has each of them in a chain, too."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree

from nablafx.layers.held import Held
from nablafx.processors import Processor

from .cases import PROCESSORS

STEERED = [p for p in PROCESSORS if p().num_parameters]
LINEAR = [p for p in PROCESSORS if p.response is not Processor.response]
CURVED = [p for p in PROCESSORS if p.curve is not Processor.curve]
BLOCK = 128


@pytest.fixture(params=PROCESSORS, ids=lambda p: p.__name__)
def processor(request):
    torch.manual_seed(0)
    return request.param().double()


@pytest.fixture(params=STEERED, ids=lambda p: p.__name__)
def steered(request):
    torch.manual_seed(0)
    return request.param().double()


def chosen(processor, batch: int = 1, blocks: int = 1) -> torch.Tensor | None:
    """u away from the ends."""
    shape = (batch, processor.num_parameters, blocks)
    return 0.2 + 0.6 * torch.rand(shape, dtype=torch.float64) if processor.num_parameters else None


def values(processor, u) -> dict[str, torch.Tensor]:
    held = None if u is None else Held(u)
    return {name: param.values.squeeze(1) for name, param in processor.denormalise(held).items()}


def test_u_reaches_both_ends_of_every_range(steered):
    for u, end in ((0.0, "low"), (1.0, "high")):
        found = values(steered, torch.full((1, steered.num_parameters, 1), u, dtype=torch.float64))
        for name, span in steered.ranges.items():
            assert found[name].item() == pytest.approx(getattr(span, end), rel=1e-12), name


def test_gradients_equal_finite_differences(processor):
    """Of the audio, of parameters that vary by blocks, and of the state."""
    x = torch.randn(2, 1, 23, dtype=torch.float64, requires_grad=True)
    u = chosen(processor, 2, 3)
    _, state = processor.rest(torch.full((2, 1, 1), 0.3, dtype=torch.float64), None if u is None else u[..., :1])
    leaves, spec = pytree.tree_flatten(state)
    # the long memory of a FIR goes in whole: each of its samples would cost two runs
    leaves = [leaf.detach().requires_grad_(leaf.numel() < 100) for leaf in leaves]
    given = [x, *([] if u is None else [u.requires_grad_()]), *leaves]

    def run(x, *rest):
        u, leaves = (None, rest) if not processor.num_parameters else (Held(rest[0], 10, 4), rest[1:])
        y, state = processor(x, u, pytree.tree_unflatten(list(leaves), spec))
        return (y, *pytree.tree_leaves(state))

    assert torch.autograd.gradcheck(run, given)


def test_constant_parameters_are_static_ones(steered):
    x, u = torch.randn(2, 1, 1000, dtype=torch.float64), chosen(steered, 2)
    static, _ = steered(x, u)
    dynamic, _ = steered(x, u.repeat(1, 1, 10))
    torch.testing.assert_close(dynamic, static, rtol=1e-10, atol=1e-10)


def test_a_change_waits_for_its_block(steered):
    """Until the second block begins, nothing tells that the parameters will change; then something does."""
    x, u = torch.randn(1, 1, 200, dtype=torch.float64), chosen(steered, 1, 2)
    dry = torch.randn_like(x)
    changing, _ = steered(x, Held(u, 100), dry=dry)
    staying, _ = steered(x, u[..., :1], dry=dry)
    assert torch.equal(changing[..., :100], staying[..., :100])
    assert not torch.allclose(changing[..., 100:], staying[..., 100:])


@pytest.mark.parametrize("kind", LINEAR)
def test_response_is_that_of_the_measured_impulse(kind):
    torch.manual_seed(0)
    processor, length = kind().double(), 2**18
    u = chosen(processor)
    bins = torch.logspace(0.5, 5, 40).long().unique().clamp(max=length // 2 - 1)
    told = processor.response(bins * 48_000 / length, **values(processor, u))
    impulse = torch.zeros(1, 1, length, dtype=torch.float64)
    impulse[..., 0] = 1
    with torch.no_grad():
        y, _ = processor(impulse, u)
    measured = torch.fft.rfft(y[0, 0])[bins]
    scale = measured.abs().max()
    torch.testing.assert_close(measured / scale, told.detach()[0, 0] / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", CURVED)
def test_curve_is_where_a_constant_settles(kind):
    torch.manual_seed(0)
    processor = kind().double()
    levels = torch.linspace(-3, 3, 7, dtype=torch.float64)
    u = chosen(processor)
    told = processor.curve(levels, **values(processor, u))
    assert told.shape == (1, 1, 7)
    x = levels.view(-1, 1, 1)
    resting, _ = processor.rest(x, u)
    torch.testing.assert_close(resting.view(1, 1, -1), told, rtol=1e-9, atol=1e-9)
    after_silence, _ = processor(x.expand(-1, -1, 100_000), u)
    torch.testing.assert_close(after_silence[..., -1].view(1, 1, -1), told, rtol=1e-2, atol=1e-6)


def test_every_processor_can_be_drawn(processor):
    u, one = chosen(processor), torch.tensor([0.5], dtype=torch.float64)
    drawn = {draw: draw(one, **values(processor, u)) for draw in (processor.response, processor.curve)}
    told = [type(processor) in kinds for kinds in (LINEAR, CURVED)]
    assert [value is not None for value in drawn.values()] == told
    assert any(told)


def test_jumps_at_every_block_do_not_build_up(steered):
    """Parameters anywhere in their ranges, most often at the ends: bounded by the input, and silence dies away.

    Then they stay: what a bias leaves on a capacitor follows it for a while.
    """
    driven, silent, still = 100, 1200, 1000
    torch.manual_seed(1)
    u = torch.rand(4, steered.num_parameters, driven + silent, dtype=torch.float64) * 3 - 1
    u = torch.cat([u, u[..., -1:].expand(-1, -1, still)], dim=-1)
    x = torch.randn(4, 1, (driven + silent + still) * BLOCK, dtype=torch.float64)
    x[..., driven * BLOCK :] = 0
    with torch.no_grad():
        y, _ = steered(x, Held(u.clamp(0, 1), BLOCK))
        at_rest, _ = steered(x[..., -1:], u[..., -1:].clamp(0, 1))
    assert y.isfinite().all()
    loudest = y[..., : driven * BLOCK].abs().max()
    assert y[..., driven * BLOCK :].abs().max() <= 2 * loudest
    assert (y[..., -1:] - at_rest).abs().max() < 1e-2 * loudest


def test_wrong_u_is_told(processor):
    name, count = type(processor).__name__, processor.num_parameters
    x = torch.randn(1, 1, 10, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"{name} has {count} parameters .*; got"):
        processor(x, torch.rand(1, count + 1, 1, dtype=torch.float64))
    if count:
        with pytest.raises(ValueError, match=f"{name} has {count} parameters .*; got none"):
            processor(x)
    with pytest.raises(ValueError, match=f"{name}: x must be audio of shape"):
        processor(x[0], chosen(processor))
