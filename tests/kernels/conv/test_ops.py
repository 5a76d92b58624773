"""The operators under torch's own tools, and who gets them. Oracles: opcheck, gradcheck, and the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nablafx.kernels import conv
from nablafx.kernels.conv import blocks, fused, ops, reference
from nablafx.kernels.conv.trial import Sizes, calls

FUNCTIONS = ("convolve", "finish_tanh", "finish_gate", "tanh_block", "gated_block")
SMALL = Sizes(2, 2, 2, 20, 2, 4, block=8, offset=3, items=2)


def cases(sizes: Sizes = SMALL) -> dict[str, tuple]:
    """Arguments of each function; those of tanh or of the gate come last."""
    return {function: arguments for function, arguments in calls((sizes,)) if function in FUNCTIONS}


def learning(arguments: tuple, dtype: torch.dtype = torch.float32) -> tuple:
    return tuple(a.to(dtype).requires_grad_() if isinstance(a, Tensor) else a for a in arguments)


def summed(outputs: Tensor | tuple) -> Tensor:
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    return torch.stack([o.square().sum() for o in outputs]).sum()


@pytest.mark.parametrize("bare", [False, True])
def test_the_operators_are_what_torch_takes_them_for(bare):
    """Schema, fakes, and gradients under dynamic shapes."""
    for function, arguments in cases(SMALL._replace(bare=bare)).items():
        found = torch.library.opcheck(getattr(torch.ops.nablafx, function).default, learning(arguments))
        assert set(found.values()) == {"SUCCESS"}, function


@pytest.mark.parametrize("bare", [False, True])
def test_gradients_of_the_reference(bare):
    for function, arguments in cases(SMALL._replace(length=9, bare=bare)).items():
        assert torch.autograd.gradcheck(getattr(reference, function), learning(arguments, torch.float64)), function


@pytest.mark.parametrize("bare", [False, True])
def test_gradients_of_what_is_called(monkeypatch, bare):
    """Through the operators they are those of float64 in plain torch."""
    monkeypatch.setattr(blocks, "_FEW", 0)
    for function, arguments in cases(SMALL._replace(length=700, bare=bare)).items():
        grads = []
        for dtype in (torch.float32, torch.float64):
            given = learning(arguments, dtype)
            tensors = [a for a in given if isinstance(a, Tensor)]
            outputs = getattr(conv, function)(*given)
            grads.append(torch.autograd.grad(summed(outputs), tensors))
        for found, expected in zip(*grads, strict=True):
            assert (found - expected).abs().max() <= 2e-5 * expected.abs().max(), function


def test_a_first_layer_learns_without_gradients_of_the_audio(monkeypatch):
    """The weights' are the same, bit by bit."""
    monkeypatch.setattr(blocks, "_FEW", 0)
    x, context, weight, bias, dilation = cases(SMALL._replace(length=700))["convolve"]
    grads = []
    for hears in (x, x.clone().requires_grad_()):
        learned = [t.clone().requires_grad_() for t in (weight, bias)]
        y = conv.convolve(hears, context, *learned, dilation)
        grads.append(torch.autograd.grad(summed(y), learned))
    assert all(torch.equal(one, two) for one, two in zip(*grads, strict=True))


@pytest.fixture
def called(monkeypatch) -> list[str]:
    """The functions whose operators are called."""
    names: list[str] = []
    for module, functions in ((ops, FUNCTIONS[:3]), (fused, FUNCTIONS[3:])):
        for name in functions:
            operator = getattr(module, name)
            monkeypatch.setattr(module, name, lambda *a, o=operator, n=name: names.append(n) or o(*a))
    return names


def test_operators_run_where_they_are_worth_it(called, monkeypatch):
    long = cases(SMALL._replace(inputs=8, width=8, length=20_000))
    for function, arguments in long.items():
        getattr(conv, function)(*arguments)
    assert sorted(called) == sorted(long)
    for function, arguments in cases().items():
        getattr(conv, function)(*arguments)
    assert sorted(called) == sorted(long), "a few samples are done sooner by torch"
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    for function, arguments in long.items():
        getattr(conv, function)(*arguments)
    assert sorted(called) == sorted(long)


def test_who_traces_transforms_or_casts_gets_plain_torch(called, monkeypatch):
    monkeypatch.setattr(blocks, "_FEW", 0)
    x, context, weight, bias, dilation, *_ = cases()["convolve"]

    def run(x: Tensor) -> Tensor:
        return conv.convolve(x, context, weight, bias, dilation)

    expected = reference.convolve(x, context, weight, bias, dilation)
    for other in (
        torch.compile(run, backend="eager", fullgraph=True),
        torch.jit.trace(run, x, check_trace=False),
        torch.func.functionalize(run),
    ):
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)
    _, slope = torch.func.jvp(run, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(slope, expected - run(x - 1), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run(x).dtype == torch.bfloat16
    assert conv.convolve(x.double(), context.double(), weight.double(), None, dilation).dtype == torch.float64
    assert called == ["convolve"], "only of the call that nothing is special about"
