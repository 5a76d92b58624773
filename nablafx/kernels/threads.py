"""Threads for compiled loops that release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

import torch

# numba's own pools abort after a fork (OpenMP) or where two Python threads meet in one (workqueue)
_pool: ThreadPoolExecutor | None = None


def share(count: int, run: Callable[[int, int], None]) -> None:
    """Call run(first, last) on parts of range(count), on as many threads as torch uses; waits for all of them.

    What a part raises is raised again, after the last one has ended.
    """
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        run(0, count)
        return
    edges = [count * n // threads for n in range(threads + 1)]
    (_, stop), *others = pairwise(edges)
    waiting = [_workers().submit(run, *part) for part in others]
    try:
        run(0, stop)
    finally:
        wait(waiting)
    for part in waiting:
        part.result()


def _workers() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="nablafx")
    return _pool


def _forget() -> None:
    global _pool
    _pool = None


# a forked process has the pool's object without its threads, and would wait for them for ever
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
