"""Oracles: the formula in numpy, finite differences, the fit itself, and published coefficients."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from nablafx.layers import rational
from nablafx.layers.rational import Rational

DEGREES = [(4, 3), (5, 4), (6, 5)]
FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": expit,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
    "identity": lambda x: x,
}
# rational-activations 0.2.0 on PyPI, rationals_config.json: Rational_version_A5/4, tanh, fitted on [-3, 3]
PUBLISHED_TANH_NUMERATOR = [
    -1.0804622559204184e-08,
    1.0003008043819048,
    -2.5878199375289335e-08,
    0.09632129918392647,
    3.4775841628196104e-09,
    0.0004255709234726337,
]
PUBLISHED_TANH_DENOMINATOR = [
    -0.0013027181209176277,
    0.428349017422072,
    1.4524304083061898e-09,
    0.010796648111337176,
]


@pytest.fixture(scope="module")
def script():
    """scripts/fit_rational.py, which is no package."""
    path = Path(__file__).parents[2] / "scripts" / "fit_rational.py"
    return SimpleNamespace(**runpy.run_path(str(path)))


def formula(x, a, b):
    """Version A of the safe Padé form in float64."""
    x, a, b = (np.asarray(v, dtype=np.float64) for v in (x, a, b))
    numerator = (x[..., None] ** np.arange(len(a)) * a).sum(-1)
    return numerator / (1 + np.abs(x[..., None] ** np.arange(1, len(b) + 1) * b).sum(-1))


def with_coefficients(numerator, denominator):
    net = Rational((len(numerator) - 1, len(denominator)))
    with torch.no_grad():
        net.numerator.copy_(torch.as_tensor(numerator))
        net.denominator.copy_(torch.as_tensor(denominator))
    return net


@pytest.fixture(params=DEGREES, ids=str)
def drawn(request):
    """A rational with random coefficients of both signs."""
    m, n = request.param
    generator = torch.Generator().manual_seed(m)
    return with_coefficients(torch.randn(m + 1, generator=generator), torch.randn(n, generator=generator))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_formula(drawn, dtype):
    drawn = drawn.to(dtype)
    x = torch.linspace(-4, 4, 2 * 3 * 101, dtype=dtype).reshape(2, 3, 101)
    want = formula(x.numpy(), *(p.detach().numpy() for p in drawn.parameters()))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    for y in (drawn(x), torch.no_grad()(drawn)(x)):
        assert y.dtype == dtype
        np.testing.assert_allclose(y.detach().numpy(), want, rtol=tolerance, atol=tolerance)


def test_gradients_equal_finite_differences(drawn):
    drawn = drawn.double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 7, generator=generator, dtype=torch.float64).requires_grad_()
    parameters = tuple(p.detach().requires_grad_() for p in drawn.parameters())
    assert torch.autograd.gradcheck(rational._SafePade.apply, (x, *parameters))


def test_pieces_change_nothing(drawn, monkeypatch):
    x = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x.transpose(0, 1).requires_grad_()

    def run():
        y = drawn.double()(x)
        return y, *torch.autograd.grad(y.sin().sum(), [x, *drawn.parameters()])

    whole = run()
    monkeypatch.setattr(rational, "PIECE", 64)
    for piecewise, once in zip(run(), whole, strict=True):
        torch.testing.assert_close(piecewise, once)


def test_saves_its_input_and_coefficients_only():
    net = Rational((6, 5))
    x = torch.randn(2, 3, 1000, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        net(x)
    assert sum(t.numel() for t in saved) == x.numel() + 7 + 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    net = Rational((6, 5))
    x = torch.linspace(-90, 90, 181).to(dtype).requires_grad_()  # 90^5 overflows float16
    y = net(x)
    assert y.dtype == dtype
    want = net(x.detach().float())
    torch.testing.assert_close(y.detach(), want.detach().to(dtype))
    y.float().sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_evaluates_published_coefficients_to_tanh():
    """Parity with rational-activations 0.2.0: its formula and its tanh, good to 4.1e-5 on [-3, 3]."""
    net = with_coefficients(PUBLISHED_TANH_NUMERATOR, PUBLISHED_TANH_DENOMINATOR).double()
    x = torch.linspace(-3, 3, 1001, dtype=torch.float64)
    error = (net(x) - x.tanh()).abs().max().item()
    want = np.abs(formula(x, PUBLISHED_TANH_NUMERATOR, PUBLISHED_TANH_DENOMINATOR) - np.tanh(x.numpy())).max()
    assert error == pytest.approx(want, rel=1e-2)
    assert error < 4.1e-5


@pytest.mark.parametrize(
    ("degrees", "inside", "tail"), [((4, 3), 3e-3, 5.1e-2), ((5, 4), 1.2e-3, 5.1e-2), ((6, 5), 2e-5, 5.1e-3)]
)
def test_tanh_keeps_its_rails(degrees, inside, tail):
    x = torch.linspace(-100, 100, 100_001)
    error = (Rational(degrees)(x) - x.tanh()).detach().abs()
    assert error[x.abs() <= 3].max() < inside
    assert error.max() < tail


@pytest.mark.parametrize("degrees", DEGREES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_starts_as_the_function(name, degrees):
    x = torch.linspace(-3, 3, 1001, dtype=torch.float64)
    net = Rational(degrees, init=name)
    error = np.abs(net(x).detach().numpy() - FUNCTIONS[name](x.numpy())).max()
    assert error < (0.04 if "relu" in name else 0.005)
    assert net.denominator.abs().min() > 0  # else it has no gradient


def test_stored_coefficients_are_what_the_script_fits(script):
    stored = json.loads(script.OUTPUT.read_text())
    assert {name: list(entries) for name, entries in stored.items()} == {
        name: [f"{m}/{n}" for m, n in script.DEGREES] for name in script.FUNCTIONS
    }
    numerator, denominator = script.fit(script.FUNCTIONS["tanh"], (4, 3), script.tail_of("tanh", (4, 3)))
    entry = stored["tanh"]["4/3"]
    np.testing.assert_allclose(numerator, entry["numerator"], rtol=1e-5)
    np.testing.assert_allclose(denominator, entry["denominator"], rtol=1e-5)


def test_unknown_starts_name_what_there_is():
    with pytest.raises(ValueError, match=r"init='swish'; there are tanh, .*silu"):
        Rational(init="swish")
    with pytest.raises(ValueError, match=r"degrees 7/6 for 'tanh'; there are 4/3, 5/4, 6/5"):
        Rational((7, 6))
