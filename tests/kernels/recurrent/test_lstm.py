"""The compiled LSTM layer. Oracles: torch.nn.LSTM in float64, finite differences of the reference, torch's opcheck."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nablafx.kernels.recurrent import lstm, ops, reference
from nablafx.layers.recurrent import Recurrent

# batch, steps, inputs, units: pairs of items and one left, whole chunks of steps and not, groups of units and not
SIZES = [(1, 1, 1, 1), (2, 1, 3, 16), (1, 2, 1, 5), (3, 64, 1, 32), (5, 65, 17, 33), (4, 130, 16, 15), (2, 200, 5, 48)]
NAMES = ("y", "h", "c", "x", "h before", "c before", "w_ih", "w_hh", "bias")


def drawn(batch: int, length: int, inputs: int, units: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Arguments whose values float32 can hold, with weights large enough for gates to close and open."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(batch, length, inputs), (batch, units), (batch, units)]
    shapes += [(4 * units, inputs), (4 * units, units), (4 * units,)]
    scales = (1, 0.5, 1, inputs**-0.5, 2 * units**-0.5, 1)
    drawn = [torch.randn(shape, generator=generator) * scale for shape, scale in zip(shapes, scales, strict=True)]
    return [t.to(dtype).requires_grad_() for t in drawn]


def answers(function, arguments: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of random sums of them."""
    generator = torch.Generator().manual_seed(0)
    outputs = function(*arguments)
    grads = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in outputs]
    return [*outputs, *torch.autograd.grad(outputs, arguments, grads)]


def assert_close(found: list[Tensor], expected: list[Tensor], forward: float = 3e-6, backward: float = 2e-5) -> None:
    for number, (name, f, e) in enumerate(zip(NAMES, found, expected, strict=True)):
        assert f.shape == e.shape, name
        error = (f.double() - e.double()).abs().max() / e.abs().max()
        assert error <= (forward if number < 3 else backward), f"{name}: {error:.1e}"


@pytest.fixture
def compiled(monkeypatch):
    """The reference must not be what is tested."""
    monkeypatch.delenv("NABLAFX_KERNELS", raising=False)
    monkeypatch.setattr(reference, "lstm", None)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_equals_torch_in_float64(sizes):
    expected = answers(lstm, drawn(*sizes, dtype=torch.float64))
    net = torch.nn.LSTM(sizes[2], sizes[3], batch_first=True).double()
    x, h, c, *weights = drawn(*sizes, dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), [*weights, torch.zeros_like(weights[2])], strict=True):
            parameter.copy_(value)
    assert torch.equal(net(x, (h.unsqueeze(0), c.unsqueeze(0)))[0], expected[0])
    assert_close(answers(ops.lstm, drawn(*sizes)), expected)


def test_a_cell_that_forgets_slowly_is_still_right():
    """Gates near 0.999 add up a thousand steps, and gradients vanish where cells have outgrown the tanh."""
    arguments = drawn(2, 3000, 1, 16, torch.float64)
    with torch.no_grad():
        arguments[4].mul_(0.5)
        arguments[5][16:32] += 7
    expected = answers(lstm, arguments)
    found = answers(lstm, [a.detach().float().requires_grad_() for a in arguments])
    assert (expected[2].abs() > 30).any()
    assert_close(found, expected, 1e-5, 1e-4)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_threads_and_company_change_nothing(sizes, threads):
    """Bit by bit: an item is what it is alone, whoever runs it and whether or not anything is to be learned."""
    results = []
    for count in (1, 2, 7):
        threads(count)
        results.append(answers(lstm, drawn(*sizes)))
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))
    x, h, c, *weights = (t.detach() for t in drawn(*sizes))
    for n in range(sizes[0]):
        alone = lstm(x[n : n + 1], h[n : n + 1], c[n : n + 1], *weights)
        assert all(torch.equal(a[0], t[n]) for a, t in zip(alone, results[0], strict=False))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("cuts", [[1, 1, 98], [64, 36], [63, 37]], ids=str)
def test_pieces_are_the_whole(cuts):
    arguments = drawn(3, 100, 2, 20)

    def in_pieces(x, h, c, *weights):
        outputs = []
        for piece in x.split(cuts, dim=1):
            y, h, c = lstm(piece, h, c, *weights)
            outputs.append(y)
        return torch.cat(outputs, dim=1), h, c

    found, expected = answers(in_pieces, arguments), answers(lstm, arguments)
    assert all(torch.equal(f, e) for f, e in zip(found[:3], expected[:3], strict=True))
    assert_close(found, expected, 0.0, 1e-6)


@pytest.mark.usefixtures("compiled")
def test_memory_in_any_order_and_arguments_left_as_they_were():
    arguments = [t.detach() for t in drawn(3, 30, 4, 20)]
    scattered = [t.mT.contiguous().mT if t.dim() > 1 else torch.stack([t, t], 1)[:, 0] for t in arguments]
    scattered[0] = arguments[0][:, :1].expand(-1, 30, -1)
    arguments[0] = scattered[0].contiguous()
    assert not any(t.is_contiguous() for t in scattered)
    before = [t.clone() for t in scattered]
    results = [answers(lstm, [t.requires_grad_() for t in given]) for given in (arguments, scattered)]
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(before, scattered, strict=True))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("wanted", range(6))
def test_each_gradient_by_itself(wanted):
    """Of an output alone, and by one argument alone."""
    arguments = drawn(2, 10, 3, 7)
    outputs = lstm(*arguments)
    for number, output in enumerate(outputs):
        (whole,) = torch.autograd.grad(output.sum(), arguments[wanted], retain_graph=True)
        alone = [t.detach() for t in arguments]
        alone[wanted].requires_grad_()
        (found,) = torch.autograd.grad(lstm(*alone)[number].sum(), alone[wanted])
        assert torch.equal(found, whole)


@pytest.mark.usefixtures("compiled")
def test_the_operator_is_what_torch_takes_it_for():
    """Schema, fakes, and gradients under dynamic shapes."""
    for arguments in (drawn(2, 5, 3, 7), [t.detach() for t in drawn(2, 5, 3, 7)]):
        learns = arguments[0].requires_grad
        results = torch.library.opcheck(torch.ops.nablafx.lstm_layer.default, (*arguments, learns))
        assert set(results.values()) == {"SUCCESS"}


def test_gradients_of_the_reference_equal_finite_differences():
    assert torch.autograd.gradcheck(reference.lstm, drawn(2, 4, 2, 3, torch.float64))


@pytest.mark.filterwarnings("ignore:.*jit.trace:DeprecationWarning")
def test_plain_torch_runs_where_it_must(monkeypatch):
    """Traced, transformed, in another dtype, and where it is asked for."""
    arguments = [t.detach() for t in drawn(2, 6, 2, 5)]
    expected = lstm(*arguments)
    monkeypatch.setattr(ops, "_lstm", None)
    found = [
        torch.compile(lstm, backend="aot_eager")(*arguments),
        torch.func.vjp(lstm, *arguments)[0],
        torch.jit.trace(lstm, arguments, check_trace=False)(*arguments),
        lstm(*(t.double() for t in arguments)),
    ]
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    found.append(lstm(*arguments))
    for results in found:
        for f, e in zip(results, expected, strict=True):
            torch.testing.assert_close(f, e, rtol=0, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_autocast_leaves_it_in_single_precision(backend, monkeypatch):
    """Also of what other layers have cast before: torch's own cannot run in bfloat16 on every CPU."""
    arguments = [t.detach() for t in drawn(2, 6, 2, 5)]
    rounded = [t.bfloat16() for t in arguments]
    monkeypatch.setenv("NABLAFX_KERNELS", backend)
    for given in (arguments, rounded):
        expected = lstm(*(t.float() for t in given))
        with torch.autocast("cpu"):
            found = lstm(*given)
        for f, e in zip(found, expected, strict=True):
            torch.testing.assert_close(f, e, rtol=0, atol=1e-6)


def test_gradients_of_gradients_are_refused():
    arguments = drawn(1, 3, 1, 2)
    (grad,) = torch.autograd.grad(lstm(*arguments)[0].sum(), arguments[0], create_graph=True)
    with pytest.raises(RuntimeError, match="lstm_layer_backward"):
        torch.autograd.grad(grad.sum(), arguments[4])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_equal_torch_in_float64(layers):
    torch.manual_seed(0)
    net = Recurrent(3, 20, layers)
    x, state = torch.randn(2, 50, 3), tuple(torch.randn(2, layers, 20) * 0.5 for _ in range(2))

    def run(dtype):
        net.to(dtype)
        y, (h, c) = net(x.to(dtype), tuple(s.to(dtype) for s in state))
        return [y, h, c, *torch.autograd.grad(y.sin().sum() + (h * c).sum(), list(net.parameters()))]

    for found, expected in zip(run(torch.float32), run(torch.float64), strict=True):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_layers_say_what_does_not_fit():
    """Compiled loops would read beyond the end."""
    net = Recurrent(3, 4)
    state = (torch.zeros(2, 1, 4),) * 2
    for x, given in ((torch.zeros(2, 5, 2), state), (torch.zeros(2, 5, 3), (state[0][:1], state[1]))):
        with pytest.raises(RuntimeError, match=r"Expected|must have"):
            net(x, given)
