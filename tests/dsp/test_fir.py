"""Oracle: scipy.signal.lfilter, whose state stands for the samples before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from nablafx.dsp import filtering
from nablafx.dsp.filtering import fir

from .sections import cut, relative


def expected_of(x: torch.Tensor, taps: torch.Tensor, context: torch.Tensor) -> np.ndarray:
    """scipy filters the context, and then x from the state that it left."""
    b = taps.double().numpy()
    zi = np.zeros((*x.shape[:2], len(b) - 1))
    if zi.shape[-1]:
        _, zi = signal.lfilter(b, [1.0], context.double().numpy(), zi=zi)
    return signal.lfilter(b, [1.0], x.double().numpy(), zi=zi)[0]


@pytest.fixture
def paths(monkeypatch):
    """The names of the paths taken, in their order."""
    taken = []

    def watch(name: str) -> None:
        run = getattr(filtering, name)
        monkeypatch.setattr(filtering, name, lambda *given: taken.append(name) or run(*given))

    watch("_direct")
    watch("_overlap_save")
    return taken


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("length", [1, 100, 5000])
@pytest.mark.parametrize("count", [1, 2, 64, 97, 1024])
def test_fir_is_scipys(paths, count, length, dtype, tolerance):
    torch.manual_seed(count)
    x, taps = torch.randn(2, 3, length, dtype=dtype), torch.randn(count, dtype=dtype)
    context = torch.randn(2, 3, count - 1, dtype=dtype)
    y, after = fir(x, taps, context)
    assert y.dtype == after.dtype == dtype
    assert relative(y, expected_of(x, taps, context)) < tolerance
    assert torch.equal(after, torch.cat([context, x], dim=-1)[..., length:])
    assert relative(fir(x, taps)[0], expected_of(x, taps, torch.zeros_like(context))) < tolerance
    assert set(paths) == {"_overlap_save" if count > 96 and length > 128 else "_direct"}


@pytest.mark.parametrize("count", [1, 64, 97, 1024])
def test_pieces_give_what_the_whole_gives(paths, count):
    """Pieces of one sample, shorter and longer than the taps, through both paths in turn."""
    torch.manual_seed(0)
    x, taps = torch.randn(2, 1, 9000, dtype=torch.float64), torch.randn(count, dtype=torch.float64)
    whole, end = fir(x, taps)
    del paths[:]
    context, outputs = None, []
    for start, stop in cut(9000, 1, 2, 90, 1200, 1300, 5000, 5100):
        y, context = fir(x[..., start:stop], taps, context)
        outputs.append(y)
    assert relative(torch.cat(outputs, dim=-1), whole) < 1e-12
    assert torch.equal(context, end)
    assert set(paths) == ({"_direct", "_overlap_save"} if count > 96 else {"_direct"})


@pytest.mark.parametrize(
    ("count", "length", "path"), [(1, 5, "_direct"), (7, 9, "_direct"), (97, 129, "_overlap_save")]
)
def test_gradients_equal_finite_differences(paths, count, length, path):
    torch.manual_seed(0)
    shapes = [(2, 1, length), (count,), (2, 1, count - 1)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(fir, inputs, fast_mode=count > 90)
    assert set(paths) == {path}


def test_gradients_through_pieces_are_those_of_the_whole():
    torch.manual_seed(0)
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((1, 1, 2000), (200,), (1, 1, 199))]
    weight = torch.randn(2000, dtype=torch.float64)

    def total(*cuts: int) -> torch.Tensor:
        x, taps, context = inputs
        outputs = []
        for start, stop in cut(2000, *cuts):
            y, context = fir(x[..., start:stop], taps, context)
            outputs.append(y)
        return (torch.cat(outputs, dim=-1) * weight).sum() + context.square().sum()

    expected = torch.autograd.grad(total(), inputs)
    for found, right in zip(torch.autograd.grad(total(1, 100, 700, 1999), inputs), expected, strict=True):
        assert relative(found, right) < 1e-12


def test_what_does_not_fit_is_told():
    x = torch.zeros(2, 1, 10)
    for wrong in (torch.zeros(0), torch.zeros(1, 3)):
        with pytest.raises(ValueError, match=r"fir: taps must have shape \(L,\), got"):
            fir(x, wrong)
    with pytest.raises(ValueError, match=r"fir: context must be the 2 samples before x, \(2, 1, 2\), got \(2, 1, 3\)"):
        fir(x, torch.zeros(3), torch.zeros(2, 1, 3))
