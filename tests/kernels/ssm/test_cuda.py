"""The Triton kernels of the scan: interpreted here, compiled where there is a GPU. Oracle: the reference in float64."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from nablafx.kernels import proof
from nablafx.kernels.backends import load
from nablafx.kernels.ssm.trial import Sizes, calls

from ..triton_processes import compiled_for_an_h100, has_triton, interpret, own_process

NAMES = ("y", "state", "u", "log_z", "gain", "readout", "direct", "state before")
# the interpreter is slow, hence blocks of 8 samples, four chunks a program: see `interpret_small_pieces`
INTERPRETED = [
    Sizes(1, 1, 1, 1),
    Sizes(1, 1, 2, 8),
    Sizes(1, 2, 3, 9),
    Sizes(2, 3, 5, 31),
    Sizes(5, 1, 4, 7),
    Sizes(2, 1, 2, 64),
    Sizes(3, 2, 9, 203),
]
COMPILED = [
    *INTERPRETED,
    Sizes(1, 3, 4, 31),
    Sizes(1, 1, 32, 32),
    Sizes(40, 2, 4, 33),
    Sizes(3, 2, 33, 1000),
    Sizes(2, 3, 64, 5000),
    Sizes(4, 16, 4, 48_000),
    Sizes(4, 16, 32, 48_000),
    Sizes(16, 16, 32, 144_000),
    Sizes(1, 2, 5, 1_000_003),
]


@pytest.fixture(scope="module")
def interpreter():
    with own_process(interpret_small_pieces) as process:
        yield process


def interpret_small_pieces() -> None:
    """Pieces so small that a few samples fill some of them, and programs pass several."""
    interpret()
    from nablafx.kernels.ssm import cuda

    cuda.BLOCK, cuda.LEAST, cuda.LANES, cuda.PROGRAMS = 8, 2, 4, 4
    cuda.SHORTEST, cuda.LONGEST, cuda.GROUP, cuda.POWERS = 1, 3, 2, 4


@has_triton
@pytest.mark.parametrize("sizes", INTERPRETED, ids=str)
def test_interpreted_kernels_agree_with_the_reference(interpreter, sizes):
    assert interpreter.submit(disagreements, sizes, "cpu").result() == []


@has_triton
def test_the_interpreted_operator_is_what_torch_takes_it_for(interpreter):
    """Schema, fakes, and gradients under dynamic shapes."""
    assert interpreter.submit(checked_operator).result() == {"SUCCESS"}


def checked_operator() -> set[str]:
    from nablafx.kernels.ssm import ops

    ops.backend_of = lambda device: "triton"
    ((_, (_, _, *arguments)),) = calls((Sizes(2, 2, 3, 20),))
    given = tuple(t.requires_grad_() for t in arguments)
    return set(torch.library.opcheck(torch.ops.nablafx.ssm_scan.default, given).values())


@has_triton
def test_interpreted_kernels_take_memory_in_any_order(interpreter):
    """Also numbers of which torch has only noted that they are conjugates."""
    assert interpreter.submit(scattered_memory).result()


def scattered_memory() -> bool:
    ((_, plain),) = calls((Sizes(2, 3, 2, 20),))
    scattered = [t.mT.contiguous().mT if t.dim() > 1 else t.repeat(2, 1).mT.contiguous()[:, 0] for t in plain]
    scattered[4] = scattered[4].conj().resolve_conj().conj()
    run = load("ssm", "triton").answers
    return all(torch.equal(one, two) for one, two in zip(run(*plain), run(*scattered), strict=True))


@has_triton
@pytest.mark.slow
def test_a_long_memory_keeps_its_angle():
    """States that live for 40,000 samples and turn by a radian in each of 20,000, in pieces of their true sizes."""
    with own_process(interpret) as process:
        assert process.submit(disagreements, Sizes(1, 1, 2, 20_001), "cpu", complex(-1 / 40_000, 1.0)).result() == []


@has_triton
@pytest.mark.slow
def test_the_kernels_pass_their_trial_where_they_are_interpreted():
    with own_process(interpret) as process:
        assert process.submit(proof.proven, "ssm", "cpu").result()


@has_triton
@pytest.mark.slow
def test_kernels_compile_for_a_gpu_that_is_not_there():
    with own_process() as process:
        kernels = process.submit(compiled_for_an_h100, run_all).result()
    assert Counter(name for name, _ in kernels).keys() == {"make", "gather", "connect", "answer", "differentiate"}


def run_all() -> None:
    for precision in ("ieee", "tf32"):
        torch.backends.cuda.matmul.fp32_precision = precision
        for _, arguments in calls((Sizes(2, 2, 4, 1000), Sizes(2, 2, 64, 1000))):
            load("ssm", "triton").answers(*arguments)


@has_triton
@pytest.mark.gpu
@pytest.mark.parametrize("sizes", COMPILED, ids=str)
def test_compiled_kernels_agree_with_the_reference(sizes):
    assert disagreements(sizes, "cuda") == []


@has_triton
@pytest.mark.gpu
def test_compiled_kernels_keep_the_angle_of_a_long_memory():
    assert disagreements(Sizes(1, 2, 2, 150_001), "cuda", complex(-1 / 40_000, 1.0)) == []


def disagreements(sizes: Sizes, device: str, log_z: complex | None = None) -> list[str]:
    """Results of the Triton kernels that differ from those of the reference."""
    kernels, reference = load("ssm", "triton"), load("ssm", "torch")
    ((function, arguments),) = calls((sizes,))
    if log_z is not None:
        arguments[3].fill_(log_z)
    given = [a.to(device) for a in arguments]
    results = getattr(kernels, function)(*given)
    expected = getattr(reference, function)(*(exact(a) for a in given))
    found = []
    for name, ours, theirs, like in zip(NAMES, results, expected, (given[2], given[7], *given[2:]), strict=True):
        assert (ours.shape, ours.dtype) == (like.shape, like.dtype), name
        assert ours.is_contiguous(), name
        error = (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-9)
        if not error < (1e-5 if name in NAMES[:2] else 1e-4):
            found.append(f"{name}: {error:.1e}")
    return found


def exact(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
