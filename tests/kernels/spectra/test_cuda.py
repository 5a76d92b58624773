"""The Triton kernels of the spectral distance: interpreted here, compiled where there is a GPU."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from nablafx.kernels.backends import load
from nablafx.kernels.spectra import reference

from .test_ops import CASES, Case, error, exact, value_and_gradient

has_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
LONG = Case(4, 48_000, (1024, 2048, 512), (120, 240, 50), (600, 1200, 240))


@pytest.fixture(scope="module")
def interpreter():
    """A process where Triton interprets: it has to know before it is imported."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=interpret) as pool:
        yield pool


def interpret() -> None:
    assert "triton" not in sys.modules
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)


@has_triton
@pytest.mark.parametrize("case", CASES, ids=str)
def test_interpreted_kernels_agree_with_the_reference(interpreter, case):
    value, gradient = interpreter.submit(errors, case, "cpu").result()
    assert value < 1e-5
    assert gradient < 1e-4


@has_triton
@pytest.mark.gpu
@pytest.mark.parametrize("case", [*CASES, LONG], ids=str)
def test_compiled_kernels_agree_with_the_reference(case):
    value, gradient = errors(case, "cuda")
    assert value < 1e-5
    assert gradient < 1e-4


@has_triton
@pytest.mark.slow
def test_kernels_compile_for_a_gpu_that_is_not_there():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(compiled).result() == {"compare", "differentiate"}


def errors(case: Case, device: str) -> tuple[float, float]:
    """Of value and gradient, by the largest there is; equal audio, no gradient and no numbers are looked at as well."""

    def run(*arguments):
        sums, gradient = load("spectra", "triton").measure(*arguments)
        return reference.value(sums), gradient

    prediction = case.clicks()
    target = 0.5 * prediction
    want = value_and_gradient(*exact(case, prediction, target))
    windows, *sizes = case.resolutions()
    x, y, windows = prediction.to(device), target.to(device), [window.to(device) for window in windows]
    value, gradient = run(x, y, windows, *sizes, True)
    assert torch.equal(run(x, y, windows, *sizes, False)[0], value)
    assert not any(result.any() for result in run(x, x.clone(), windows, *sizes, True))
    assert run(float("nan") * x, y, windows, *sizes, True)[0].isnan()
    return error(value.cpu(), want[0]), error(gradient.cpu(), want[1])


def compiled() -> set[str]:
    """The kernels that this process compiles for an H100, by running them up to the launch."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    names, run = set(), JITFunction.run

    def stop_before_launch(kernel, *args, **kwargs):
        names.add(kernel.__name__)
        return run(kernel, *args, **{**kwargs, "warmup": True})

    JITFunction.run = stop_before_launch
    h100, zero = (lambda: GPUTarget("cuda", 90, 32)), (lambda *_: 0)
    driver.set_active(SimpleNamespace(get_current_target=h100, get_current_device=zero, get_current_stream=zero))
    case = CASES[2]
    load("spectra", "triton").measure(case.noise(), case.noise(), *case.resolutions(), True)
    return names
