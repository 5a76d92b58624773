"""The operators under torch's own tools. Oracles: torch.library.opcheck, and the same function run eagerly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from nablafx.dsp import biquad
from nablafx.dsp.filtering import envelope, sosfilt, svfilt
from nablafx.kernels import backends
from nablafx.kernels.filters import ops

from .cases import envelope_case, in_float32, section_case

SAMPLE_RATE = 48_000


def differentiable(arguments: tuple) -> tuple:
    return tuple(a.clone().requires_grad_() if isinstance(a, Tensor) else a for a in arguments)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_the_operators_are_what_torch_takes_them_for(monkeypatch, backend):
    """Schema, fakes, and gradients under dynamic shapes."""
    monkeypatch.setenv("NABLAFX_KERNELS", backend)
    for operator, case in (
        (torch.ops.nablafx.sections.default, section_case((2, 2), 130, 2, "blocks", 1)),
        (torch.ops.nablafx.envelope.default, envelope_case((2, 2), 130, "blocks", 2)),
    ):
        for given in (in_float32(case), differentiable(in_float32(case))):
            assert set(torch.library.opcheck(operator, given).values()) == {"SUCCESS"}


def test_the_backend_asked_for_runs_with_its_gradients(monkeypatch):
    """The plain loop and the compiled one, behind the operators."""
    results, called = [], []
    for backend in ("numba", "torch"):
        monkeypatch.setenv("NABLAFX_KERNELS", backend)
        monkeypatch.setattr(ops, "load", lambda family, name: called.append(name) or backends.load(family, name))
        arguments = chain_arguments(170)
        outputs = chain(*arguments)
        results.append((*outputs, *torch.autograd.grad([o.square().sum() for o in outputs], arguments)))
    assert called == ["numba"] * 6 + ["torch"] * 6
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def chain(x: Tensor, sos: Tensor, other: Tensor, poles: Tensor, zi: Tensor) -> tuple[Tensor, ...]:
    """All three filters, the first with a set for every 50 samples."""
    y, first = svfilt(x, sos, zi, block=50, offset=20)
    y, second = sosfilt(torch.tanh(y), other)
    e, third = envelope(y.abs(), poles, poles.square(), block=50, offset=20)
    return y * e, first, second, third


def chain_arguments(length: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sets = -(-(length + 20) // 50)
    cutoff_hz = 200 + 2000 * torch.rand(2, sets, 2, generator=generator)
    sos = biquad.peaking(6.0, cutoff_hz, 1.0, SAMPLE_RATE)
    other = biquad.lowpass(torch.full((1, 1, 1), 3000.0), 0.7, SAMPLE_RATE)
    poles = torch.rand(1, sets, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 2, length, generator=generator)
    zi = torch.randn(2, 2, 2, 2, generator=generator, dtype=torch.float64)
    return tuple(t.requires_grad_() for t in (x, sos, other, poles, zi))


def test_a_compiled_function_gives_the_same():
    """As one graph without a break, which serves other lengths and numbers of sets."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(chain, fullgraph=True, backend=counter, dynamic=True)
    for length in (170, 260, 45):
        arguments = chain_arguments(length)
        results = []
        for run in (chain, compiled):
            outputs = run(*arguments)
            grads = torch.autograd.grad([o.square().sum() for o in outputs], arguments)
            results.append((*outputs, *grads))
        for expected, found in zip(*results, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert counter.frame_count == 1


class Bell(nn.Module):
    """A peaking filter with its cut-off as a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.cutoff_hz = nn.Parameter(torch.tensor([[[700.0, 3000.0]]]))

    def forward(self, x: Tensor, zi: Tensor) -> tuple[Tensor, Tensor]:
        return svfilt(x, biquad.peaking(6.0, self.cutoff_hz, 2.0, SAMPLE_RATE), zi)


def test_an_exported_module_filters_any_length():
    module = Bell()
    zi = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    time = torch.export.Dim("time", min=2)
    example = (torch.randn(1, 1, 200), zi)
    exported = torch.export.export(module, example, dynamic_shapes={"x": {2: time}, "zi": None}).module()
    for length in (2, 129, 4000):
        x = torch.randn(1, 1, length)
        for found, expected in zip(exported(x, zi), module(x, zi), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
