"""Oracle of the compiled kernels: the plain loop in torch, on the same numbers."""

from __future__ import annotations

import pytest
import torch

from nablafx.errors import UserError
from nablafx.kernels import backend_of, backends, describe

from .cases import LAYOUTS, assert_close, envelope_case, in_float32, run, section_case

LENGTHS = [1, 5, 128, 129, 300]
# (B, C) and the items that have sections of their own; eight rows make a group
ROWS = [((1, 1), 1), ((3, 1), 1), ((3, 1), 3), ((9, 1), 1), ((9, 1), 9), ((1, 2), 1), ((5, 2), 1), ((5, 2), 5)]
numba, plain = backends.load("filters", "numba"), backends.load("filters", "torch")


def assert_equal_to_the_loop(name: str, arguments: tuple) -> None:
    """Outputs and gradients, in float64 and in float32; the loop always has float64 audio."""
    expected = run(plain, name, arguments)
    for given, tolerance in ((arguments, 1e-10), (in_float32(arguments), 1e-6)):
        for found, right in zip(run(numba, name, given), expected, strict=True):
            assert found[0].dtype == given[0].dtype
            assert {t.dtype for t in found[1:]} == {torch.float64}
            assert_close(found, right, tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sections", [1, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_sections_of_any_length(length, sections, layout):
    assert_equal_to_the_loop("sections", section_case((3, 2), length, sections, layout, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rows", "batch"), ROWS)
def test_sections_of_any_number_of_rows(rows, batch, layout):
    assert_equal_to_the_loop("sections", section_case(rows, 70, 2, layout, batch))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("length", LENGTHS)
def test_envelopes_of_any_length(length, layout):
    assert_equal_to_the_loop("envelope", envelope_case((3, 2), length, layout, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rows", "batch"), ROWS)
def test_envelopes_of_any_number_of_rows(rows, batch, layout):
    assert_equal_to_the_loop("envelope", envelope_case(rows, 70, layout, batch))


def test_the_loop_in_float32_is_the_loop_in_float64_rounded():
    """Hence it may be the oracle of both."""
    for name, case in (
        ("sections", section_case((3, 2), 129, 3, "blocks", 3)),
        ("envelope", envelope_case((3, 2), 129, "blocks", 3)),
    ):
        found, expected = getattr(plain, name)(*in_float32(case)), getattr(plain, name)(*case)
        assert found[0].dtype == torch.float32
        assert torch.equal(found[0], expected[0].float())
        assert all(torch.equal(f, e) for f, e in zip(found[1:], expected[1:], strict=True))


def test_the_arguments_are_left_as_they_were():
    for name, case in (
        ("sections", section_case((3, 2), 300, 3, "blocks", 1)),
        ("envelope", envelope_case((3, 2), 300, "blocks", 1)),
    ):
        before = [a.clone() for a in case[:-2]]
        run(numba, name, case)
        assert all(torch.equal(a, b) for a, b in zip(case, before, strict=False)), name


def test_channels_and_items_in_any_order_of_memory():
    x, coefficients, zi, *layout = section_case((3, 2), 129, 3, "blocks", 3)
    scattered = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in (x, coefficients, zi)]
    assert not any(t.is_contiguous() for t in scattered)
    found, expected = (numba.sections(*given, *layout) for given in (scattered, (x, coefficients, zi)))
    assert all(torch.equal(f, e) for f, e in zip(found, expected, strict=True))


def test_threads_change_nothing(threads):
    for name, case in (
        ("sections", section_case((5, 2), 300, 3, "blocks", 5)),
        ("sections", section_case((5, 2), 300, 3, "every sample", 1)),
        ("envelope", envelope_case((5, 2), 300, "blocks", 1)),
    ):
        results = []
        for count in (1, 2, 7):
            threads(count)
            outputs, gradients = run(numba, name, case)
            results.append((*outputs, *gradients))
        for other in results[1:]:
            assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True)), name


@pytest.mark.parametrize(("has_triton", "on_cuda"), [(True, "triton"), (False, "numba")])
def test_the_device_chooses_the_backend(monkeypatch, has_triton, on_cuda):
    monkeypatch.delenv("NABLAFX_KERNELS", raising=False)
    monkeypatch.setattr(backends, "_has_triton", lambda: has_triton)
    assert backend_of("cpu") == backend_of(torch.device("cpu")) == "numba"
    assert backend_of("cuda") == backend_of(torch.device("cuda", 1)) == on_cuda


def test_the_environment_chooses_the_backend(monkeypatch):
    monkeypatch.setattr(backends, "_has_triton", lambda: False)
    for name in ("torch", "numba"):
        monkeypatch.setenv("NABLAFX_KERNELS", name)
        assert backend_of("cpu") == backend_of("cuda") == name
    monkeypatch.setenv("NABLAFX_KERNELS", "nonsense")
    with pytest.raises(UserError, match=r"NABLAFX_KERNELS is 'nonsense'.*numba, triton, torch"):
        backend_of("cpu")
    monkeypatch.setenv("NABLAFX_KERNELS", "triton")
    with pytest.raises(UserError, match=r"NABLAFX_KERNELS asks for triton.*unset it"):
        backend_of("cuda")


def test_what_filters_in_words(monkeypatch, threads):
    monkeypatch.delenv("NABLAFX_KERNELS", raising=False)
    threads(2)
    assert describe("cpu") == "numba on 2 threads, compiled once"
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    assert describe("cpu") == "torch"
