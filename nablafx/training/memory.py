"""Memory of the process that trains."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nablafx.errors import UserError
from nablafx.training.runs import CHECKPOINTS, checkpoints

# of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
# what is said where an allocation on the CPU fails, and where the system ends a process for its memory
_SIGNS = ("DefaultCPUAllocator", "not enough memory", "killed by signal: Killed", "CUDA out of memory")


def keep_freed() -> bool:
    """Let the C library give memory of freed tensors to the next ones, and not back to the system; False: it cannot.

    By default a tensor of more than 32 MB always lies in new memory, which the system makes zeros of page by page: half
    the time of a training step on a CPU with 16 segments of 3 s. The process then keeps what it once had, up to half as
    much again as without, for memory of many sizes leaves gaps.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, -1) and mallopt(_M_MMAP_MAX, 0))


@contextmanager
def explained(system: Any, data: Any, folder: Path) -> Iterator[None]:
    """Tell what to lower where memory ends, in place of what CUDA, the allocator of the CPU or a killed worker raise.

    Raises:
        UserError: memory ended.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not any(s in str(error) for s in _SIGNS):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        pieces = f", trained in pieces of {system.tbptt_samples}" if system.tbptt_samples else ""
        kept = checkpoints(folder)
        go_on = "There is no checkpoint yet"
        if kept:
            go_on = f"{folder / CHECKPOINTS} holds {', '.join(kept)}: with --ckpt_path last the run goes on"
        raise UserError(
            f"out of memory with batches of {data.batch_size} segments of {data.context} + {data.segment_length} "
            f"samples{pieces} ({reason}). Lower data.batch_size or data.segment_length, or set model.tbptt_samples to "
            "a part of a segment; data.preload, data.cache_on_device and data.num_workers take memory too, and so do "
            f"other programs. {go_on}."
        ) from error
