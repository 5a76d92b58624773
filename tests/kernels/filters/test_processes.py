"""Threads, forked and new processes. Oracles: the numbers that one thread gives, numba's own record of its cache."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from nablafx.kernels.filters import cpu
from nablafx.kernels.threads import share

from .cases import in_float32, section_case

CACHED = """
import torch
from nablafx.kernels.filters import cpu
cpu.sections(torch.ones(1, 1, 200), torch.zeros(1, 1, 1, 9).double(), torch.zeros(1, 1, 1, 2).double(), 200, 0)
print(sum(cpu.forward.stats.cache_hits.values()), sum(cpu.forward.stats.cache_misses.values()))
"""


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("number", [1, 2, 3, 8])
def test_every_index_runs_once(threads, number, count):
    threads(number)
    parts: list[tuple[int, int]] = []
    share(count, lambda first, last: parts.append((first, last)))
    assert len(parts) == min(number, count)
    assert sorted(i for part in parts for i in range(*part)) == list(range(count))


def test_parts_run_at_the_same_time(threads):
    """Each waits for the other."""
    threads(2)
    together = threading.Barrier(2, timeout=20)
    share(2, lambda *_: together.wait())
    assert not together.broken


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_exception_of_any_part_arrives_after_all_have_ended(threads, bad):
    threads(3)
    ended = []

    def run(first: int, last: int) -> None:
        if first == bad:
            raise ArithmeticError(f"part {first}")
        time.sleep(0.1)
        ended.append(first)

    with pytest.raises(ArithmeticError, match=f"part {bad}"):
        share(3, run)
    assert sorted([*ended, bad]) == [0, 1, 2]


def test_a_new_process_does_not_compile():
    case = in_float32(section_case((1, 1), 200, 1, "static", 1))
    cpu.sections(*case)  # compiles it if nobody has
    out = subprocess.run([sys.executable, "-c", CACHED], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.split() == ["1", "0"]


def _filter(pipe, case: tuple) -> None:
    pipe.send(cpu.sections(*case)[0].numpy())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_filters(threads):
    """As workers of a DataLoader may: the child has threads of its own."""
    threads(2)
    case = section_case((8, 1), 300, 3, "blocks", 1)
    expected = cpu.sections(*case)[0]
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_filter, args=(there, case))
    child.start()
    try:
        assert here.poll(30), "the child hangs"
        assert torch.equal(torch.from_numpy(here.recv()), expected)
    finally:
        child.join(5)
        child.kill()


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
    ids=["nothing", "a count", "a policy"],
)
def test_idle_threads_do_not_spin_unless_the_user_says_so(given, expected):
    """Set as the package is imported, before it imports torch."""
    script = "import os, sys, nablafx; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    run = subprocess.run(
        [sys.executable, "-c", script], env={**kept, **given}, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [str(expected), "False"]
