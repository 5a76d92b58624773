"""Oracle of the compiled kernels: plain torch in float64, on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from nablafx.kernels.backends import load
from nablafx.kernels.conv.trial import Sizes, calls
from nablafx.kernels.registers import load as load_register
from nablafx.kernels.registers import sigmoid, store, tanh
from nablafx.kernels.vectors import INLINED

numba, plain = load("conv", "numba"), load("conv", "torch")

# registers have 16 samples, three of which are summed at once, tiles 384 and stretches 3840; eight rows go together
CASES = [
    Sizes(1, 1, 1, 1, 1, 1),
    Sizes(2, 1, 16, 15, 7, 1, block=4, offset=3, items=2),
    Sizes(1, 16, 16, 16, 3, 16, bare=True),
    Sizes(2, 3, 6, 50, 3, 9, block=16, offset=5, items=2),
    Sizes(2, 5, 5, 49, 2, 1000, block=100, offset=37),
    Sizes(1, 8, 8, 383, 13, 1, block=1),
    Sizes(3, 4, 8, 385, 1, 1, bare=True),
    Sizes(2, 2, 12, 3841, 5, 81, block=128, offset=77, items=2),
    Sizes(1, 17, 17, 4000, 2, 3, block=128),
    Sizes(2, 16, 16, 7700, 3, 2187, items=2),
]


def in_float64(arguments: tuple) -> list:
    return [a.double() if isinstance(a, Tensor) else a for a in arguments]


def results(found: Tensor | tuple) -> list[Tensor]:
    """Of those functions that give one and of those that give several."""
    return [found] if isinstance(found, Tensor) else list(found)


@pytest.mark.parametrize("sizes", CASES, ids=str)
def test_equal_to_the_reference(sizes):
    for function, arguments in calls((sizes,)):
        found = results(getattr(numba, function)(*arguments))
        expected = results(getattr(plain, function)(*in_float64(arguments)))
        for number, (f, e) in enumerate(zip(found, expected, strict=True)):
            assert (f is None) == (e is None), function
            if e is not None:
                assert f.shape == e.shape
                assert f.dtype == torch.float32
                difference = float((f - e).abs().max()) if e.numel() else 0.0
                assert difference <= 1e-5 * float(e.abs().max() if e.numel() else 0), (function, number)


def test_threads_change_nothing(threads):
    """Bit by bit: sums over time are made by stretches, whoever makes them."""
    for function, arguments in calls((Sizes(3, 5, 5, 8000, 3, 7, block=128, offset=5),)):
        found = []
        for count in (1, 2, 5):
            threads(count)
            found.append(results(getattr(numba, function)(*arguments)))
        for other in found[1:]:
            assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True)), function


def test_arguments_in_any_order_of_memory_are_left_as_they_were():
    for function, arguments in calls((Sizes(2, 4, 4, 500, 3, 7, block=100, offset=5, items=2),)):
        scattered = [
            a.transpose(0, -1).contiguous().transpose(0, -1) if isinstance(a, Tensor) else a for a in arguments
        ]
        before = [a.clone() if isinstance(a, Tensor) else a for a in scattered]
        found, expected = (results(getattr(numba, function)(*given)) for given in (scattered, arguments))
        assert all(torch.equal(f, e) for f, e in zip(found, expected, strict=True)), function
        assert all(torch.equal(a, b) for a, b in zip(scattered, before, strict=True) if isinstance(a, Tensor))


@pytest.mark.parametrize("length", [20, 4000])
def test_contexts_that_are_views(length):
    """The end of longer features, one sample held for ever, an item for all."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 3, length), torch.randn(4, 3, 3), torch.randn(4)
    heard = torch.randn(2, 3, 500)
    for context in (heard[..., -100:], heard[..., :1].expand(-1, -1, 100), heard[:1, :, :100].expand(2, -1, -1)):
        found = numba.convolve(x, context, weight, bias, 50)
        assert torch.equal(found, numba.convolve(x, context.contiguous(), weight, bias, 50))
        grads, expected = (
            numba.convolve_backward(torch.ones(2, 4, length), x, given, weight, 50)
            for given in (context, context.contiguous())
        )
        assert all(torch.equal(g, e) for g, e in zip(grads, expected, strict=True))


def test_what_is_no_number_shows():
    """A net that has diverged does not look sound."""
    for function, (first, *others) in calls((Sizes(1, 4, 4, 100, 1, 1),)):
        broken = first.clone()
        broken[0, 0, 50] = torch.nan
        assert any(bool(r.isnan().any()) for r in results(getattr(numba, function)(broken, *others))), function


def test_bends_of_registers():
    @njit(**INLINED)
    def bend(x, by_tanh, by_sigmoid):
        for n in range(0, len(x), 16):
            store(by_tanh, n, tanh(load_register(x, n)))
            store(by_sigmoid, n, sigmoid(load_register(x, n)))

    x = np.linspace(-30, 30, 16 * 5001, dtype=np.float32)
    found = np.empty((2, len(x)), np.float32)
    bend(x, *found)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(found, [np.tanh(exact), 1 / (1 + np.exp(-exact))], rtol=0, atol=4e-7)
