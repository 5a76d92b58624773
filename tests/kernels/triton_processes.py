"""What tests of Triton kernels share: a process that interprets, and compilation for a GPU that is not there."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

has_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")


@contextmanager
def own_process(prepare: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A new process: how Triton runs is settled when it is first imported."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=prepare) as pool:
        yield pool


def interpret() -> None:
    """Have Triton interpret in this process, on one thread."""
    assert "triton" not in sys.modules
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)


def compiled_for_an_h100(run: Callable[[], None]) -> list[tuple[str, bytes]]:
    """Kernels that `run` launches, compiled for an H100 in this process, none of which has one: names and cubins."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    found, launch = {}, JITFunction.run

    def stop_before_launch(kernel, *args, **kwargs):
        compiled = launch(kernel, *args, **{**kwargs, "warmup": True})
        found[id(compiled)] = kernel.__name__, compiled.asm["cubin"]
        return compiled

    JITFunction.run = stop_before_launch
    h100, zero = (lambda: GPUTarget("cuda", 90, 32)), (lambda *_: 0)
    driver.set_active(SimpleNamespace(get_current_target=h100, get_current_device=zero, get_current_stream=zero))
    run()
    return list(found.values())
