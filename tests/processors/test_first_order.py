"""The filters of one capacitor, against scipy's bilinear transform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import bilinear, lfilter

from nablafx.processors import CouplingCapacitor, FirstOrderLowpass

RATE = 48_000
# of the analog prototype, for a pole
NUMERATORS: dict[type, Callable[[float], list[float]]] = {
    CouplingCapacitor: lambda pole: [1, 0],
    FirstOrderLowpass: lambda pole: [pole],
}


@pytest.mark.parametrize("cutoff_hz", [4.0, 120.0, 1400.0])
@pytest.mark.parametrize("kind", NUMERATORS)
def test_against_scipy(kind, cutoff_hz):
    x = np.random.default_rng(0).normal(size=4000)
    # the analog pole where the transform puts it at the cut-off
    pole = 2 * RATE * np.tan(np.pi * cutoff_hz / RATE)
    expected = lfilter(*bilinear(NUMERATORS[kind](pole), [1, pole], RATE), x)
    y, _ = kind(RATE, cutoff_hz)(torch.from_numpy(x).view(1, 1, -1))
    np.testing.assert_allclose(y[0, 0], expected, rtol=0, atol=1e-10)
