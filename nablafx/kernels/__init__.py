"""The hot loops beneath the filters: numba on a CPU, Triton on CUDA, plain torch as the reference of both.

Each backend is a module with the same four functions, `sections`, `sections_backward`, `envelope` and
`envelope_backward`; :mod:`nablafx.kernels.reference` says what they compute. :mod:`nablafx.kernels.ops` makes torch
operators of them, which choose by the device of their input.
"""

from nablafx.kernels.backends import backend_of, describe
from nablafx.kernels.ops import envelope, sections

__all__ = ["backend_of", "describe", "envelope", "sections"]
