"""The phase shifter measured on its impulse response."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx.processors import PhaseShift

LENGTH = 2**18
FREQS = np.fft.rfftfreq(LENGTH, 1 / 48_000)
BAND = (FREQS >= 20) & (FREQS <= 20_000)


def measured(degrees: float) -> np.ndarray:
    """Spectrum of the impulse response in the audio band."""
    impulse = torch.zeros(1, 1, LENGTH, dtype=torch.float64)
    impulse[..., 0] = 1
    y, _ = PhaseShift(shift_deg=degrees)(impulse)
    return np.fft.rfft(y[0, 0].numpy())[BAND]


def test_zero_is_the_identity_and_180_the_inversion():
    """To -60 dB in the audio band."""
    assert np.abs(measured(0.0) - 1).max() < 1e-3
    assert np.abs(measured(180.0) + 1).max() < 1e-3
    assert np.abs(measured(-180.0) + 1).max() < 1e-3


@pytest.mark.parametrize("degrees", [30.0, 45.0, 90.0, 120.0])
def test_one_angle_for_all_frequencies(degrees):
    """Between +φ and -φ there are 2 φ at every frequency: both hear the same pair, whose own delay cancels."""
    up, down = measured(degrees), measured(-degrees)
    turned = np.degrees(np.angle(up / down * np.exp(-2j * np.radians(degrees))))
    above = FREQS[BAND] >= 28
    assert np.abs(turned[above]).max() < 0.2
    np.testing.assert_allclose(np.abs(up[above]), 1, atol=2e-3)


@pytest.mark.parametrize("degrees", [1.0, 3.0, 5.0, 10.0])
def test_small_angles_stay_near_full_level(degrees):
    """Where the pair gives way to the identity, both add up in phase: cos φ + sin φ at most."""
    level = np.abs(measured(degrees))
    most = np.cos(np.radians(degrees)) + np.sin(np.radians(degrees))
    assert level.max() < most + 1e-3
    assert level.min() > 2 * np.cos(np.radians(degrees)) - most - 1e-3


def test_gradient_is_finite_everywhere():
    processor = PhaseShift()
    u = torch.linspace(0, 1, 9, dtype=torch.float64).view(9, 1, 1).requires_grad_()
    processor(torch.randn(9, 1, 300, dtype=torch.float64), u)[0].square().sum().backward()
    assert u.grad.isfinite().all()
