"""The hot loops beneath filters, nets and losses: numba on a CPU, Triton on CUDA, plain torch as the reference of both.

Each family of kernels is a folder. `reference` says what its functions compute, `cpu` and `cuda` have functions of the
same names, and `ops` makes torch operators of them, which choose by the device of their input. `streams` are loops of
:mod:`nablafx.export.engine`, which has no gradients and one item.
"""

from nablafx.kernels.backends import backend_of, describe

__all__ = ["backend_of", "describe"]
