"""Levels by compiled loops. Oracles: scipy's filter, plain torch in float64, finite differences, torch's opcheck."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit
from scipy.signal import lfilter
from torch import Tensor

from nablafx.dsp.envelopes import level, levels
from nablafx.kernels.envelopes import ops, reference
from nablafx.kernels.vectors import LOOP, log

# items, channels that pass, followers, samples: whole chunks of 128 and not
SIZES = [(1, 0, 1, 1), (2, 1, 3, 130), (3, 4, 8, 127), (2, 3, 17, 128), (5, 1, 2, 300)]


def drawn(batch: int, passed: int, followed: int, length: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    z = torch.randn(batch, passed + followed, length, generator=generator)
    z[..., 0] = 0
    pole = torch.rand(followed, generator=generator, dtype=torch.float64)
    zi = torch.rand(batch, followed, generator=generator, dtype=torch.float64)
    return [t.requires_grad_() for t in (z.to(dtype), pole, zi)]


def answers(arguments: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of random sums of them."""
    outputs = levels(*arguments)
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in outputs]
    return [*outputs, *torch.autograd.grad(outputs, arguments, grads)]


@pytest.fixture
def compiled(monkeypatch):
    """The reference must not be what is tested."""
    monkeypatch.delenv("NABLAFX_KERNELS", raising=False)
    monkeypatch.setattr(reference, "levels", None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_followers_are_scipys(sizes, dtype):
    z, pole, zi = (t.detach() for t in drawn(*sizes, dtype=dtype))
    found, last = levels(z, pole, zi)
    assert torch.equal(found[..., : sizes[1]], z[:, : sizes[1]].transpose(1, 2))
    assert (found.dtype, last.dtype) == (dtype, torch.float64)
    for c, p in enumerate(pole.tolist()):
        magnitudes = z[:, sizes[1] + c].abs().double()
        e, _ = lfilter([1 - p], [1, -p], magnitudes, zi=p * zi[:, c : c + 1])
        tolerance = 1e-12 if dtype == torch.float64 else 5e-7
        np.testing.assert_allclose(found[..., sizes[1] + c], 1 + 2 / 3 * np.log10(e + 0.001), rtol=0, atol=tolerance)
        np.testing.assert_allclose(last[:, c], e[:, -1], rtol=1e-12)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gradients_are_those_of_plain_torch_in_float64(sizes):
    found, expected = (answers(drawn(*sizes, dtype=dtype)) for dtype in (torch.float32, torch.float64))
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert not e.numel() or (f - e).abs().max() <= 2e-6 * e.abs().max()


def test_gradients_of_plain_torch():
    z, pole, zi = drawn(2, 1, 2, 9, torch.float64)
    with torch.no_grad():
        z[..., 0] = 0.1  # where a magnitude has a slope
    assert torch.autograd.gradcheck(reference.levels, (z, pole, zi))


@pytest.mark.usefixtures("compiled")
def test_pieces_are_the_whole():
    z, pole, zi = drawn(3, 2, 4, 300)

    def in_pieces() -> list[Tensor]:
        outputs, state = [], zi
        for piece in z.split([1, 127, 130, 42], dim=-1):
            y, state = levels(piece, pole, state)
            outputs.append(y)
        return [torch.cat(outputs, dim=1), state]

    for number, (found, expected) in enumerate(zip(in_pieces(), levels(z, pole, zi), strict=True)):
        assert torch.equal(found, expected), number
        grads = [torch.autograd.grad(t.sum(), (z, pole, zi), retain_graph=True) for t in (found, expected)]
        for one, two in zip(*grads, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("compiled")
def test_threads_change_nothing(threads):
    results = []
    for count in (1, 2, 7):
        threads(count)
        results.append(answers(drawn(5, 1, 3, 200)))
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("compiled")
def test_memory_in_any_order_and_arguments_left_as_they_were():
    arguments = [t.detach() for t in drawn(3, 1, 2, 50)]
    scattered = [t.mT.contiguous().mT if t.dim() > 1 else torch.stack([t, t], 1)[:, 0] for t in arguments]
    before = [t.clone() for t in scattered]
    results = [answers([t.requires_grad_() for t in given]) for given in (arguments, scattered)]
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(before, scattered, strict=True))


def test_the_operator_is_what_torch_takes_it_for():
    results = torch.library.opcheck(ops._levels, tuple(drawn(2, 1, 3, 20)))
    assert set(results.values()) == {"SUCCESS"}


def test_what_is_no_number_shows():
    z, pole, zi = (t.detach() for t in drawn(1, 1, 2, 40))
    for broken in (torch.nan, torch.inf):
        z[0, 1, 20] = broken
        found, _ = levels(z, pole, zi)
        assert not found[0, 20, 1].isfinite()
        assert found[0, :20].isfinite().all()
        assert found[..., [0, 2]].isfinite().all()


def test_levels_of_what_is_known():
    assert level(torch.tensor([0.0, 0.999])).tolist() == pytest.approx([-1.0, 1.0])
    assert torch.func.grad(level)(torch.zeros(())).item() == pytest.approx(2000 / (3 * np.log(10)))


def test_logarithms_of_vectors():
    @njit(**{**LOOP, "cache": False})
    def run(x, y):
        for n in range(len(x)):
            y[n] = log(x[n])

    x = np.concatenate([np.geomspace(1.2e-38, 3e38, 200_001), np.linspace(0.5, 2, 100_001)]).astype(np.float32)
    y, exact = np.empty_like(x), np.log(x.astype(np.float64))
    run(x, y)
    assert (np.abs(y - exact) <= 2e-7 * np.maximum(np.abs(exact), 1)).all()


@pytest.mark.parametrize("shapes", [((3, 4), (2,), (3, 2)), ((3, 1, 9), (2,), (3, 2)), ((3, 2, 9), (2,), (1, 2))])
def test_shapes_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match=r"levels: needs z \(B, K \+ C, T\), pole \(C,\) and zi \(B, C\), got"):
        levels(*(torch.zeros(shape) for shape in shapes))
