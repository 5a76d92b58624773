"""Learned curves as cubics in pieces: what a small network says of a sample, looked up."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch

from nablafx.export.engine.lowering import numbers
from nablafx.layers.siren import SirenCurve

_FEWEST, _MOST = 2**9, 2**16
# of the curve's largest value: less than the network itself is off by in float32
_TOLERANCE = 1e-7


@torch.no_grad()
def pieces_of(curve: SirenCurve) -> np.ndarray | None:
    """(N, 4) float64: a + b f + c f² + d f³ at the place f in [0, 1) of each of N equal pieces of [-reach, reach].

    Each cubic meets the network, in float64, at four equidistant points, and misses it by less than 1e-7 of the largest
    value halfway between them; N is doubled until that is so. None: it is not for 65,536.
    """
    siren = deepcopy(curve.siren).double()
    count = _FEWEST
    while count <= _MOST:
        points = torch.linspace(-1, 1, 6 * count + 1, dtype=torch.float64)
        values = numbers(siren(points.unsqueeze(-1)))[:, 0]
        pieces = _cubics(values[::2])
        f = np.array([1, 3, 5])[:, None] / 6
        between = ((pieces[:, 3] * f + pieces[:, 2]) * f + pieces[:, 1]) * f + pieces[:, 0]
        missed = np.abs(between.T.ravel() - values[1::2]).max()
        if missed <= _TOLERANCE * np.abs(values).max():
            return pieces
        count *= 2
    return None


def _cubics(values: np.ndarray) -> np.ndarray:
    """Coefficients (N, 4) of the cubics through values (3 N + 1,), by Newton's differences."""
    p, q, r, s = values[:-1:3], values[1::3], values[2::3], values[3::3]
    first, second, third = q - p, r - 2 * q + p, s - 3 * r + 3 * q - p
    linear, square, cube = first - second / 2 + third / 3, (second - third) / 2, third / 6
    return np.ascontiguousarray(np.stack([p, 3 * linear, 9 * square, 27 * cube], axis=1))
