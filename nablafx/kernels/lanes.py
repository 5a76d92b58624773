"""Four rows of audio at once: a tuple of four numbers is what the compiler makes one vector register of.

A recursive filter waits for its own last output at every sample; four independent rows fill that wait. Everything here
is compiled by numba into the loops of :mod:`nablafx.kernels.cpu`.
"""

from __future__ import annotations

import numba
from numba import njit

LANES = 4

# numba leaves off the pass of LLVM that makes vectors of tuples: without it the loops take twice the time
numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]


@njit(nogil=True)
def product(a, b):
    """a b."""
    return a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]


@njit(nogil=True, fastmath={"contract"})
def added(a, b, c):
    """a b + c."""
    return a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]


@njit(nogil=True)
def load(row):
    """The four numbers of an array (4,)."""
    return row[0], row[1], row[2], row[3]


@njit(nogil=True)
def store(row, values):
    """Write four numbers into an array (4,)."""
    row[0], row[1], row[2], row[3] = values


@njit(nogil=True)
def gather(a, items, n, k, j):
    """a[item, n, k, j] for the items of the four rows; a (B, N, K, J)."""
    return a[items[0], n, k, j], a[items[1], n, k, j], a[items[2], n, k, j], a[items[3], n, k, j]


@njit(nogil=True)
def rows_of(group, count):
    """The rows of a group: the last one stands in where there are no four left."""
    first, last = group * 4, count - 1
    return first, min(first + 1, last), min(first + 2, last), min(first + 3, last)


@njit(nogil=True)
def items_of(rows, channels, items):
    """The items whose sections the rows are filtered with: one for all, or one for `channels` rows each."""
    if items == 1:
        return 0, 0, 0, 0
    return rows[0] // channels, rows[1] // channels, rows[2] // channels, rows[3] // channels
