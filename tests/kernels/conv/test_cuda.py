"""The Triton kernels against the reference: interpreted here, compiled where there is a GPU."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from nablafx.kernels.backends import load
from nablafx.kernels.conv.trial import Sizes, calls

from ..triton_processes import compiled_for_an_h100, has_triton, interpret, own_process

# the interpreter is slow, hence tiles of 32 samples: see `interpret_small_tiles`
INTERPRETED = [
    Sizes(1, 1, 1, 1, 1, 1),
    Sizes(1, 1, 3, 1, 2, 1, bare=True),
    Sizes(2, 3, 6, 50, 3, 9, block=16, offset=5, items=2),
    Sizes(1, 1, 5, 70, 7, 1, block=11, offset=3),
    Sizes(2, 2, 2, 33, 2, 100, items=2),
    Sizes(2, 17, 17, 40, 2, 2, bare=True),
    Sizes(1, 2, 4, 300, 3, 16, block=40),
]
COMPILED = [
    *INTERPRETED,
    Sizes(3, 1, 16, 1000, 7, 1, bare=True),
    Sizes(3, 16, 16, 5000, 7, 64),
    Sizes(2, 16, 16, 5000, 13, 10_000, items=2),
    Sizes(2, 16, 16, 20_001, 3, 2187, block=128, offset=77, items=2),
    Sizes(2, 32, 32, 3000, 5, 81, block=100),
    Sizes(2, 8, 64, 1500, 3, 300),
    Sizes(16, 16, 16, 144_000, 7, 256),
]


@pytest.fixture(scope="module")
def interpreter():
    with own_process(interpret_small_tiles) as process:
        yield process


def interpret_small_tiles() -> None:
    """Tiles so small that a few samples fill some of them."""
    interpret()
    from nablafx.kernels.conv import cuda_launch

    cuda_launch.LANES, cuda_launch.RUN = 32, 8
    cuda_launch.SAMPLES, cuda_launch.CUTS, cuda_launch.COLUMNS, cuda_launch.PROGRAMS = 32, 2, 16, 2


@has_triton
@pytest.mark.parametrize("sizes", INTERPRETED, ids=str)
def test_interpreted_kernels_agree_with_the_reference(interpreter, sizes):
    assert interpreter.submit(disagreements, sizes, "cpu").result() == []


@has_triton
def test_interpreted_kernels_agree_where_torch_allows_tf32(interpreter):
    """Other products are launched then; the interpreter rounds nothing."""
    assert interpreter.submit(disagreements, Sizes(2, 17, 17, 40, 2, 9), "cpu", "tf32").result() == []


@has_triton
def test_the_interpreted_operators_are_what_torch_takes_them_for(interpreter):
    """Schema, fakes, and gradients under dynamic shapes."""
    assert interpreter.submit(checked_operators).result() == {"tanh_block": {"SUCCESS"}, "gated_block": {"SUCCESS"}}


def checked_operators() -> dict[str, set[str]]:
    from nablafx.kernels.conv import fused

    torch.manual_seed(0)
    fused.backend_of = lambda device: "triton"
    found: dict[str, set[str]] = {}
    for bare in (False, True):
        for function, arguments in calls((Sizes(2, 2, 2, 9, 2, 2, bare=bare),)):
            if function in ("tanh_block", "gated_block"):
                given = tuple(a.requires_grad_() if isinstance(a, Tensor) else a for a in arguments)
                results = torch.library.opcheck(getattr(torch.ops.nablafx, function).default, given)
                found.setdefault(function, set()).update(results.values())
    return found


@has_triton
@pytest.mark.slow
def test_kernels_compile_for_a_gpu_that_is_not_there():
    with own_process() as process:
        kernels = process.submit(compiled_for_an_h100, run_all).result()
    assert Counter(name for name, _ in kernels).keys() == {"forward", "backward", "of_input", "of_weights"}


def run_all() -> None:
    for precision in ("ieee", "tf32"):
        torch.backends.cudnn.conv.fp32_precision = precision
        for sizes in (Sizes(1, 1, 16, 600, 3, 64, bare=True), Sizes(1, 16, 16, 600, 3, 1, block=128)):
            for function, arguments in calls((sizes,)):
                getattr(load("conv", "triton"), function)(*arguments)


@has_triton
@pytest.mark.gpu
@pytest.mark.parametrize("sizes", COMPILED, ids=str)
def test_compiled_kernels_agree_with_the_reference(sizes):
    assert disagreements(sizes, "cuda") == []


@has_triton
@pytest.mark.gpu
@pytest.mark.parametrize("sizes", COMPILED[7:], ids=str)
def test_compiled_kernels_agree_where_torch_allows_tf32(sizes):
    assert disagreements(sizes, "cuda", "tf32", tolerance=5e-3) == []


def disagreements(sizes: Sizes, device: str, precision: str = "ieee", tolerance: float = 2e-5) -> list[str]:
    """Results of the Triton kernels that differ from those of the reference in float64."""
    torch.backends.cudnn.conv.fp32_precision = precision
    kernels, reference, found = load("conv", "triton"), load("conv", "torch"), []
    for function, arguments in calls((sizes,)):
        given = [a.to(device) if isinstance(a, Tensor) else a for a in arguments]
        exact = [a.double() if isinstance(a, Tensor) else a for a in given]
        results, expected = (getattr(kernels, function)(*given), getattr(reference, function)(*exact))
        if isinstance(results, Tensor):
            results, expected = (results,), (expected,)
        for n, (ours, theirs) in enumerate(zip(results, expected, strict=True)):
            if theirs is None or ours is None:
                assert ours is theirs, (function, n)
                continue
            assert (ours.shape, ours.dtype) == (theirs.shape, torch.float32), (function, n)
            assert ours.is_contiguous(), (function, n)
            error = (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-9) if ours.numel() else 0.0
            if not error < tolerance:
                found.append(f"{function}, result {n}: {error:.1e}")
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    return found
