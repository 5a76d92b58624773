"""The mean of a clipper between neighbours. Oracles: an integral by quadrature, and plain torch in float64."""

from __future__ import annotations

import pytest
import torch
from scipy.integrate import quad

from nablafx.kernels.clipping import clip, clip_fed, cpu, ops, reference


def case(length: int, sets: int = 1, items: int = 1, loudness: float = 3.0):
    generator = torch.Generator().manual_seed(length + sets)
    x = loudness * torch.randn(3, 1, length, generator=generator)
    x[..., length // 2 :] = x[..., length // 2 : length // 2 + 1]  # equal neighbours
    before = torch.randn(3, 1, generator=generator)
    settings = torch.exp(torch.rand(items, sets, 3, generator=generator, dtype=torch.float64) * 3 - 3)
    return x, before, settings


def test_it_is_the_mean_of_the_curve():
    settings = torch.tensor([[[1.7, 0.05, 0.6]]], dtype=torch.float64)
    pairs = [(-4.0, 5.0), (0.3, 0.31), (0.9, 1.1), (2.0, 2.0), (-1.7, -1.7 + 1e-9), (-300.0, 400.0)]

    def f(t):
        return reference.curve(torch.tensor([t], dtype=torch.float64), settings[0, 0]).item()

    for a, b in pairs:
        ends = torch.tensor([a, b], dtype=torch.float64)
        found = reference.clip(ends[1:].view(1, 1, 1), ends[:1].view(1, 1), settings, 1, 0).item()
        expected = f(a) if b - a < 1e-6 else quad(f, a, b, points=[-1.7, 1.0], limit=500)[0] / (b - a)
        assert found == pytest.approx(expected, abs=1e-8)


def test_gradients_of_the_reference_equal_finite_differences():
    x, before, settings = case(9, 3)
    given = [t.double().requires_grad_() for t in (x, before, settings)]
    assert torch.autograd.gradcheck(lambda *t: reference.clip(*t, 4, 2), given)


@pytest.mark.parametrize("loudness", [1e-3, 3.0, 300.0])
@pytest.mark.parametrize(("sets", "items", "block", "offset"), [(1, 1, 100, 0), (1, 3, 100, 0), (4, 3, 30, 15)])
def test_loops_against_the_reference(sets, items, block, offset, loudness):
    x, before, settings = case(100, sets, items, loudness)
    leaves = [t.double().requires_grad_() for t in (x, before, settings)]
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    expected = reference.clip(*leaves, block, offset)
    wanted = torch.autograd.grad(expected, leaves, grad.double())
    found = cpu.clip(x, before, settings, block, offset)
    torch.testing.assert_close(found.double(), expected.detach(), rtol=0, atol=2e-6)
    for got, right in zip(cpu.clip_backward(grad, x, before, settings, block, offset), wanted, strict=True):
        torch.testing.assert_close(got.double(), right, rtol=0, atol=1e-5 * float(right.abs().max()))


def test_float32_keeps_its_digits_where_neighbours_are_nearly_equal():
    """Where a quotient of differences would have none left."""
    x = torch.linspace(0.2, 0.2001, 1000)
    settings = torch.tensor([[[1.0, 0.1, 0.1]]])
    single = reference.clip(x.view(1, 1, -1), x[:1].view(1, 1), settings, 1000, 0)
    double = reference.clip(x.double().view(1, 1, -1), x[:1].double().view(1, 1), settings.double(), 1000, 0)
    assert (single.double() - double).abs().max() < 2e-7


def test_operator_knows_torch():
    x, before, settings = case(40)
    torch.library.opcheck(ops.clip, (x.requires_grad_(), before.requires_grad_(), settings.requires_grad_(), 40, 0))


def fed_case(length: int, sets: int = 1, items: int = 1):
    """As `case`, of float64 state, with a feedback between -0.8 and 3, a charge, and poles that forget fast."""
    x, _, settings = case(length, sets, items)
    generator = torch.Generator().manual_seed(length)
    start = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    fed, *others, passed = torch.rand(6, items, sets, 1, generator=generator, dtype=torch.float64)
    pole, rise, fall, keep = 0.5 + 0.5 * others[0], 0.5 * others[1], 0.5 * others[2], 0.5 + 0.5 * others[3]
    return x, start, torch.cat([settings, 3.8 * fed - 0.8, pole, rise, fall, keep, passed], dim=-1)


@pytest.mark.parametrize("antialias", [True, False])
def test_gradients_of_feedback_equal_finite_differences(antialias):
    given = [t.double().requires_grad_() for t in fed_case(9, 3)]
    assert torch.autograd.gradcheck(lambda *t: reference.clip_fed(*t, 4, 2, antialias)[:2], given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("sets", "items", "block", "offset"), [(1, 1, 100, 0), (1, 3, 100, 0), (4, 3, 30, 15)])
def test_loops_of_feedback_against_the_reference(sets, items, block, offset, antialias, dtype):
    x, start, settings = fed_case(100, sets, items)
    x, others, generator = x.to(dtype), (block, offset, antialias), torch.Generator().manual_seed(1)
    grads = torch.randn(x.shape, generator=generator, dtype=dtype), torch.randn(3, 3, generator=generator).double()
    expected = reference.clip_fed(x, start, settings, *others)
    found = cpu.clip_fed(x, start, settings, *others)
    for got, right in zip(found, expected, strict=True):
        torch.testing.assert_close(got, right, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)
    wanted = reference.clip_fed_backward(*grads, x, start, settings, *expected[::2], *others)
    told = cpu.clip_fed_backward(*grads, x, start, settings, *found[::2], *others)
    for got, right in zip(told, wanted, strict=True):
        bound = (1e-5 if dtype == torch.float32 else 1e-10) * float(right.abs().max())
        torch.testing.assert_close(got, right, rtol=0, atol=bound)


def test_without_feedback_it_is_the_same():
    x, before, settings = case(200)
    start = torch.cat([before.double(), torch.ones(3, 1), torch.zeros(3, 1)], dim=1)
    none = torch.tensor([[[0.0, 0.9, 0.0, 0.0, 0.5, 1.0]]], dtype=torch.float64)
    y, end = clip_fed(x, start, torch.cat([settings, none], dim=-1), 200, 0, True)
    torch.testing.assert_close(y, clip(x, before, settings, 200, 0), rtol=0, atol=1e-6)
    torch.testing.assert_close(end[:, 0].float(), x[:, 0, -1], rtol=0, atol=0)


def test_operator_of_feedback_knows_torch():
    x, start, settings = (t.requires_grad_() for t in fed_case(40))
    torch.library.opcheck(ops.clip_fed, (x, start, settings, 40, 0, True))
