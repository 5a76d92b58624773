"""Oracles: the formula in numpy, finite differences, the paper's statistics, and the published parameter count."""

import copy
import math

import numpy as np
import pytest
import torch

from nablafx.layers.siren import SIREN, SirenCurve, SirenTaps


def formula(siren, x):
    """The definition in float64; x (..., in_features)."""
    x = np.asarray(x, dtype=np.float64)
    *hidden, (weight, bias) = [
        (p.weight.detach().double().numpy(), p.bias.detach().double().numpy()) for p in siren.layers
    ]
    for w, b in hidden:
        x = np.sin(siren.w0 * (x @ w.T + b))
    return x @ weight.T + bias


def drawn(seed=0, **sizes):
    torch.manual_seed(seed)
    return SIREN(**sizes)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        ({}, 2209),
        ({"hidden_size": 2}, 19),
        ({"hidden_size": 64}, 8513),
        ({"in_features": 2, "out_features": 3, "hidden_size": 4, "num_hidden": 1}, 12 + 15),
    ],
)
def test_parameters(sizes, parameters):
    assert count(SIREN(**sizes)) == parameters


def test_curve_and_taps_have_the_parameters_of_their_net():
    assert count(SirenCurve()) == count(SirenTaps()) == 2209


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 7)], ids=str)
@pytest.mark.parametrize(
    "sizes", [{}, {"in_features": 2, "out_features": 3, "hidden_size": 5, "num_hidden": 2, "w0": 7}]
)
def test_equals_the_formula(sizes, shape):
    siren = drawn(**sizes)
    x = torch.rand(*shape, sizes.get("in_features", 1)) * 2 - 1
    want = formula(siren, x)
    assert want.shape == (*shape, sizes.get("out_features", 1))
    np.testing.assert_allclose(siren(x).detach().numpy(), want, atol=2e-5)
    np.testing.assert_allclose(siren.double()(x.double()).detach().numpy(), want, atol=1e-13)


def test_derivatives_equal_finite_differences():
    siren = drawn(in_features=2, hidden_size=4, num_hidden=2, w0=5.0).double()
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(siren, (x,))
    parameters = dict(siren.named_parameters())
    given = tuple(p.detach().requires_grad_() for p in parameters.values())

    def of_parameters(*values):
        return torch.func.functional_call(siren, dict(zip(parameters, values, strict=True)), (x.detach(),))

    assert torch.autograd.gradcheck(of_parameters, given)


@pytest.mark.parametrize("w0", [30.0, 100.0])
def test_starts_within_the_bounds_of_the_paper(w0):
    siren = drawn(in_features=3, hidden_size=64, w0=w0)
    bounds = [1 / 3, *[math.sqrt(6 / 64) / w0] * 3]
    for layer, bound in zip(siren.layers, bounds, strict=True):
        largest = layer.weight.abs().max().item()
        assert 0.9 * bound < largest <= bound


def test_weights_give_phases_of_variance_one():
    siren = drawn(hidden_size=512)
    x = torch.rand(4096, 1, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for number, layer in enumerate(siren.layers[:-1]):
        phase = siren.w0 * (x @ layer.weight.T)
        if number:
            assert phase.var().item() == pytest.approx(1.0, rel=0.1)
        x = (phase + siren.w0 * layer.bias).sin()


@pytest.mark.parametrize(
    "sizes", [{"hidden_size": 0}, {"num_hidden": 0}, {"w0": 0.0}, {"w0": float("inf")}, {"w0": float("nan")}]
)
def test_sizes_that_make_no_net_are_refused(sizes):
    with pytest.raises(ValueError, match=r"SIREN: .*must be 1 or more, and w0 a positive number"):
        SIREN(**sizes)
    with pytest.raises(ValueError, match="SIREN"):
        SirenCurve(**sizes)


@pytest.mark.parametrize("reach", [0.0, -1.0, float("inf"), float("nan")])
def test_a_reach_that_is_no_positive_number_is_refused(reach):
    with pytest.raises(ValueError, match="SirenCurve: reach is"):
        SirenCurve(reach=reach)


@pytest.mark.parametrize("shape", [(), (9,), (2, 1, 50)], ids=str)
def test_a_curve_is_the_net_of_x_over_reach(shape):
    torch.manual_seed(0)
    curve = SirenCurve(hidden_size=8, reach=4.0).double()
    x = torch.rand(shape, dtype=torch.float64) * 8 - 4
    want = formula(curve.siren, x.unsqueeze(-1).numpy() / 4)[..., 0]
    np.testing.assert_allclose(curve(x).detach().numpy(), want, atol=1e-13)


def test_a_curve_is_held_outside_its_reach():
    torch.manual_seed(0)
    curve = SirenCurve(hidden_size=8, reach=4.0)
    x = torch.tensor([-1e6, -40.0, -4.0, 4.0, 4.001, 1e6], requires_grad=True)
    y = curve(x)
    # a sine may round otherwise at another place of a tensor
    torch.testing.assert_close(y[:2], y[2].expand(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(y[4:], y[3].expand(2), atol=1e-6, rtol=0)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope[[0, 1, 4, 5]].abs().max() == 0
    assert slope[[2, 3]].abs().min() > 0


def test_a_curve_has_the_derivatives_of_its_parts():
    torch.manual_seed(0)
    curve = SirenCurve(hidden_size=4, w0=5.0, reach=2.0).double()
    x = torch.tensor([-3.0, -1.5, 0.2, 1.9, 2.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(curve, (x,))


def test_taps_are_the_net_at_even_coordinates():
    torch.manual_seed(0)
    net = SirenTaps(50, hidden_size=8).double()
    want = formula(net.siren, np.linspace(-1, 1, 50)[:, None])[:, 0] / math.sqrt(50)
    np.testing.assert_allclose(net().detach().numpy(), want, atol=1e-6)  # coordinates were drawn in float32
    assert net().dtype == torch.float64


@pytest.mark.parametrize("num_taps", [16, 256, 1024, 4096])
@pytest.mark.parametrize("hidden_size", [2, 32, 64])
def test_untrained_taps_are_all_but_silent(num_taps, hidden_size):
    for seed in range(10):
        torch.manual_seed(seed)
        response = torch.fft.rfft(SirenTaps(num_taps, hidden_size)(), 8 * num_taps).abs().max().item()
        assert 0 < response < 10 ** (-30 / 20)


def test_untrained_taps_learn():
    torch.manual_seed(0)
    net = SirenTaps(64, hidden_size=8)
    (net() - torch.randn(64)).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())


def test_coordinates_move_and_copy_but_are_no_weights():
    net = SirenTaps(10, hidden_size=2)
    assert not [name for name in net.state_dict() if "coordinates" in name]
    twin = copy.deepcopy(net)
    assert torch.equal(twin(), net())
    assert twin.double().coordinates.dtype == torch.float64


def test_a_filter_needs_two_taps():
    with pytest.raises(ValueError, match="num_taps is 1"):
        SirenTaps(1)
