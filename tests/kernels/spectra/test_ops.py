"""The spectral distance on a CPU against the reference in float64, and where the reference runs itself."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from nablafx.kernels.spectra import distance, ops, reference


class Case(NamedTuple):
    """A batch, its length, and sizes of FFT, hop and window."""

    rows: int
    length: int
    fft_sizes: tuple[int, ...]
    hop_sizes: tuple[int, ...]
    win_lengths: tuple[int, ...]

    def resolutions(self, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[int], list[int]]:
        windows = [torch.hann_window(length, dtype=dtype) for length in self.win_lengths]
        return windows, list(self.fft_sizes), list(self.hop_sizes)

    def noise(self) -> Tensor:
        return torch.randn(self.rows, self.length, generator=torch.Generator().manual_seed(0))

    def clicks(self) -> Tensor:
        """At most one in a frame: no bin is much smaller than the others of its frame, where float32 would lose it."""
        x = torch.zeros(self.rows, self.length)
        for row in range(self.rows):
            x[row, 3 + row :: max(self.win_lengths)] = 0.5**row
        return x


CASES = [
    Case(1, 9, (16,), (4,), (16,)),
    Case(2, 33, (64,), (7,), (41,)),  # the shortest that may be reflected, an odd window
    Case(3, 700, (32, 128), (8, 40), (32, 100)),
    Case(2, 1500, (256,), (16,), (255,)),  # more frames than are folded together
    Case(2, 1000, (64,), (90,), (50,)),  # samples that no frame hears
    Case(1, 3001, (1024, 2048, 512), (120, 240, 50), (600, 1200, 240)),
]


def value_and_gradient(run, prediction: Tensor, target: Tensor, resolutions) -> tuple[Tensor, Tensor]:
    prediction = prediction.detach().requires_grad_()
    value = run(prediction, target, *resolutions)
    return value.detach(), torch.autograd.grad(value, prediction)[0]


def exact(case: Case, prediction: Tensor, target: Tensor) -> tuple:
    """What `value_and_gradient` needs for the reference in float64."""
    return reference.distance, prediction.double(), target.double(), case.resolutions(torch.float64)


def error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient_are_those_of_the_reference(case):
    """No bin of the prediction is near the target's, where the gradient of a distance jumps."""
    prediction = case.clicks()
    value, gradient = value_and_gradient(distance, prediction, 0.5 * prediction, case.resolutions())
    want = value_and_gradient(*exact(case, prediction, 0.5 * prediction))
    assert error(value, want[0]) < 1e-5
    assert error(gradient, want[1]) < 1e-4


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unlike_audio_is_compared_as_exactly_as_in_plain_torch(case):
    """Bins that come near the target's, or zero, leave gradients in float32 with errors that no kernel avoids."""
    target = torch.tanh(3 * case.noise()) * torch.logspace(0, -4, case.rows).unsqueeze(-1)
    prediction = target + 0.1 * case.noise().flip(-1)
    want = value_and_gradient(*exact(case, prediction, target))
    value, gradient = value_and_gradient(distance, prediction, target, case.resolutions())
    plain = value_and_gradient(reference.distance, prediction, target, case.resolutions())
    assert error(value, want[0]) < 1e-5
    assert error(gradient, want[1]) < max(2 * error(plain[1], want[1]), 1e-4)


def test_threads_change_nothing(threads):
    prediction = CASES[3].noise()
    target = prediction.flip(-1)
    threads(1)
    want = value_and_gradient(distance, prediction, target, CASES[3].resolutions())
    threads(3)
    got = value_and_gradient(distance, prediction, target, CASES[3].resolutions())
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


def test_equal_audio_and_silence():
    case = CASES[2]
    x, silence = case.noise(), torch.zeros(case.rows, case.length)
    for same in (x, silence):
        value, gradient = value_and_gradient(distance, same, same.clone(), case.resolutions())
        assert value == 0
        assert not gradient.any()
    assert value_and_gradient(distance, x, silence, case.resolutions())[1].isfinite().all()
    assert not value_and_gradient(distance, silence, x, case.resolutions())[1].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_hidden(bad):
    prediction, target = CASES[2].noise(), CASES[2].noise()
    prediction[1, 300] = bad
    assert not distance(prediction, target, *CASES[2].resolutions()).isfinite()


def test_gradient_scales_with_what_follows_and_reaches_through_strides():
    case = CASES[2]
    x = case.noise().unsqueeze(-1).repeat(1, 1, 2).requires_grad_()
    target = 0.5 * case.noise()
    (3 * distance(x[..., 1], target, *case.resolutions())).backward()
    _, want = value_and_gradient(distance, case.noise(), target, case.resolutions())
    torch.testing.assert_close(x.grad[..., 1], 3 * want)
    assert not x.grad[..., 0].any()


def test_operator_is_well_formed():
    windows, fft_sizes, hop_sizes = CASES[2].resolutions()
    x = CASES[2].noise().requires_grad_()
    for with_gradient in (True, False):
        arguments = (x if with_gradient else x.detach(), x.detach().flip(-1), windows, fft_sizes, hop_sizes)
        checks = ("test_schema", "test_autograd_registration", "test_faketensor")
        torch.library.opcheck(ops._distance, (*arguments, False, with_gradient), test_utils=checks)


@pytest.fixture
def kernel(monkeypatch):
    """How often the operator is called."""
    calls = []
    operator = ops._distance
    monkeypatch.setattr(ops, "_distance", lambda *arguments: calls.append(arguments[-1]) or operator(*arguments))
    return calls


def test_gradient_is_found_only_where_it_is_asked_for(kernel):
    x, target = CASES[2].noise().requires_grad_(), CASES[2].noise().flip(-1)
    distance(x, target, *CASES[2].resolutions())
    distance(x.detach(), target, *CASES[2].resolutions())
    with torch.no_grad():
        distance(x, target, *CASES[2].resolutions())
    assert kernel == [True, False, False]


def test_reference_runs_where_no_kernel_fits(kernel, monkeypatch):
    case = CASES[2]
    x, target, sizes = case.noise(), case.noise().flip(-1), case.resolutions()
    want = reference.distance(x, target, *sizes)

    def run(prediction: Tensor) -> Tensor:
        return distance(prediction, target, *sizes)

    compiled = torch.compile(run, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), want)
    torch.func.grad(run)(x)
    distance(x, target.requires_grad_(), *sizes).backward()
    assert target.grad is not None
    target = target.detach()
    distance(x.double(), target.double(), *case.resolutions(torch.float64))
    distance(x, target, sizes[0], [96, 128], sizes[2])  # 96 is no power of two
    distance(x.to("meta"), target.to("meta"), [window.to("meta") for window in sizes[0]], *sizes[1:])
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    run(x)
    assert kernel == []
