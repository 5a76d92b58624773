"""The high-pass of one capacitor, against scipy's bilinear transform."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import bilinear, lfilter

from nablafx.processors import CouplingCapacitor


def test_against_scipy():
    rate = 48_000
    x = np.random.default_rng(0).normal(size=4000)
    for cutoff_hz in (4.0, 120.0, 1400.0):
        # the analog pole where the transform puts it at the cut-off
        pole = 2 * rate * np.tan(np.pi * cutoff_hz / rate)
        expected = lfilter(*bilinear([1, 0], [1, pole], rate), x)
        y, _ = CouplingCapacitor(rate, cutoff_hz)(torch.from_numpy(x).view(1, 1, -1))
        np.testing.assert_allclose(y[0, 0], expected, rtol=0, atol=1e-10)
