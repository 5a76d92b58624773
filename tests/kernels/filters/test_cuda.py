"""The Triton kernels against the reference: interpreted here, compiled where there is a GPU."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from nablafx.kernels.backends import load
from nablafx.kernels.filters import reference

from ..triton_processes import compiled_for_an_h100, has_triton, interpret, own_process


class Case(NamedTuple):
    """Sizes of a comparison; block None: one set."""

    batch: int
    channels: int
    length: int
    depth: int
    block: int | None
    offset: int
    shared: bool
    dtype: torch.dtype


# the interpreter is slow, hence chunks of 8 samples and programs of 4 chunks: see `interpret_small_pieces`
INTERPRETED = [
    Case(1, 1, 1, 2, None, 0, True, torch.float64),
    Case(1, 1, 8, 1, 16, 8, True, torch.float32),
    Case(2, 1, 9, 1, 1, 0, False, torch.float64),
    Case(2, 2, 9, 1, 6, 5, False, torch.float64),
    Case(2, 1, 20, 1, None, 0, False, torch.float64),
    Case(1, 2, 20, 3, 8, 0, True, torch.float32),
    Case(1, 1, 40, 1, 6, 5, True, torch.float32),
    Case(1, 1, 70, 2, 16, 8, True, torch.float64),
]
COMPILED = [
    Case(3, 1 + shared, length, depth, block, offset, shared, dtype)
    for length, depth, (block, offset), (shared, dtype) in product(
        (1, 5, 128, 129, 300),
        (1, 3),
        ((None, 0), (128, 0), (256, 128), (100, 37), (1, 0)),
        ((True, torch.float32), (False, torch.float64)),
    )
]
LONG = [
    Case(4, 2, 70_001, 10, block, offset, shared, dtype)
    for (block, offset), (shared, dtype) in product(
        ((None, 0), (128, 0), (100, 37), (1, 0)), ((True, torch.float64), (False, torch.float32))
    )
]


@pytest.fixture(scope="module")
def interpreter():
    with own_process(interpret_small_pieces) as process:
        yield process


def interpret_small_pieces() -> None:
    """Pieces so small that a few samples fill some of them."""
    interpret()
    reference.CHUNK = 8
    from nablafx.kernels.filters import cuda, cuda_envelope

    cuda.LANES = 4
    cuda._GROUP = 4
    cuda_envelope.GROUP.value = 4
    cuda_envelope.SPAN.value = 16


@has_triton
@pytest.mark.parametrize("case", INTERPRETED, ids=str)
def test_interpreted_kernels_agree_with_the_reference(interpreter, case):
    assert interpreter.submit(disagreements, case, "cpu", "torch").result() == []


@has_triton
@pytest.mark.slow
def test_kernels_compile_for_a_gpu_that_is_not_there():
    with own_process() as process:
        names = {name for name, _ in process.submit(compiled_for_an_h100, run_all).result()}
    assert names == {"forward", "recompute", "backward", "follow", "follow_back"}


def run_all() -> None:
    for block in (128, 100):
        sections, poles, block, offset = sections_and_poles(case := Case(2, 1, 300, 2, block, 0, False, torch.float32))
        x, (zi, start) = audio(case), (torch.zeros(2, 1, 2, 2).double(), torch.zeros(2, 1).double())
        checkpoints = load("filters", "triton").sections(x, sections, zi, block, offset)[2]
        load("filters", "triton").sections_backward(x, zi, x, sections, checkpoints, block, offset)
        load("filters", "triton").envelope(x, *poles, start, block, offset)
        load("filters", "triton").envelope_backward(x, start, x, *poles, start, block, offset)


@has_triton
@pytest.mark.gpu
@pytest.mark.parametrize("case", COMPILED, ids=str)
def test_compiled_kernels_agree_with_the_reference(case):
    assert disagreements(case, "cuda", "torch") == []


@has_triton
@pytest.mark.gpu
@pytest.mark.parametrize("case", LONG, ids=str)
def test_compiled_kernels_agree_with_those_of_the_cpu(case):
    assert disagreements(case, "cuda", "numba") == []


def disagreements(case: Case, device: str, oracle: str) -> list[str]:
    """Results of the Triton kernels that differ from those of another backend."""
    torch.manual_seed(0)
    kernels, expected = load("filters", "triton"), load("filters", oracle)
    float32 = case.dtype == torch.float32
    found = []

    def run(function: str, names: str, tolerance: float, *arguments) -> tuple[Tensor, ...]:
        moved = [a.to(device) if isinstance(a, Tensor) else a for a in arguments]
        wanted = getattr(expected, function)(*arguments)
        for name, ours, theirs in zip(names.split(), getattr(kernels, function)(*moved), wanted, strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), name
            assert ours.is_contiguous(), name
            error = (ours.cpu() - theirs).abs().max() / theirs.abs().max().clamp_min(1e-9)
            if not error < tolerance:
                found.append(f"{function}, {name}: {error:.1e}")
        return wanted

    forward, backward = (1e-5, 1e-4) if float32 else (1e-10, 1e-10)
    sections, poles, block, offset = sections_and_poles(case)
    x = audio(case)
    rows = (case.batch, case.channels)
    zi, grad_zf = torch.randn(2, *rows, case.depth, 2, dtype=torch.float64)
    grad_y = torch.randn(x.shape, dtype=x.dtype)
    checkpoints = run("sections", "y zf checkpoints", forward, x, sections, zi, block, offset)[2]
    arguments = (grad_y, grad_zf, x, sections, checkpoints, block, offset)
    run("sections_backward", "x coefficients zi", backward, *arguments)
    zi, grad_zf = torch.rand(2, *rows, dtype=torch.float64)
    run("envelope", "y zf", forward, x, *poles, zi, block, offset)
    run("envelope_backward", "x attack release zi", backward, grad_y, grad_zf, x, *poles, zi, block, offset)
    return found


def audio(case: Case) -> Tensor:
    """Noise that stands still at times: an envelope without attack then meets it exactly."""
    x = torch.randn(case.batch, case.channels, case.length, dtype=case.dtype)
    return torch.where(torch.arange(case.length) % 16 < 12, x, 0.5)


def sections_and_poles(case: Case) -> tuple[Tensor, tuple[Tensor, Tensor], int, int]:
    """Coefficients of sections, those of envelopes, their block and its offset."""
    block = case.length + case.offset if case.block is None else case.block
    items = 1 if case.shared else case.batch
    count = -(-(case.length + case.offset) // block)
    attack, release = torch.rand(2, items, count, dtype=torch.float64)
    return stable_sections(items, count, case.depth), (attack * (attack > 0.3), release), block, case.offset


def stable_sections(items: int, count: int, depth: int) -> Tensor:
    """Random sections (items, count, depth, 9), whose states last for ten to ten thousand samples.

    A = S U diag(σ) V S^-1 with rotations U and V: all of them shrink one norm, so that switching them is stable too,
    and none commutes with another.
    """
    sigma = 1 - 10 ** (-1 - 3 * torch.rand(2, items, count, depth, dtype=torch.float64))
    angle = torch.pi * torch.rand(2, items, count, depth, dtype=torch.float64)
    rotations = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=-1).unflatten(-1, (2, 2))
    basis = torch.tensor([[1.0, 0.6], [-0.3, 1.4]], dtype=torch.float64)
    shrunk = rotations[0] @ torch.diag_embed(sigma.movedim(0, -1)) @ rotations[1]
    rest = 0.5 * torch.randn(items, count, depth, 5, dtype=torch.float64)
    return torch.cat([(basis @ shrunk @ basis.inverse()).flatten(-2), rest], dim=-1)
