"""Memory of the process that trains."""

from __future__ import annotations

import ctypes

# of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


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
