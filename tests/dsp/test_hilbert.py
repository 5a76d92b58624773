"""Oracles: scipy's sosfreqz and sosfilt, the error that elliptic functions predict (scipy.special), properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import sosfilt, sosfreqz
from scipy.special import ellipk, ellipkm1

from nablafx.dsp import hilbert


def pair(sample_rate: float, freqs_hz, scale=1.0, **design) -> tuple[np.ndarray, np.ndarray]:
    """Responses of the two chains, as scipy sees them."""
    chains = (hilbert.allpass_sections(p, scale).numpy() for p in hilbert.poles(sample_rate, **design))
    in_phase, quadrature = (sosfreqz(sos, worN=freqs_hz, fs=sample_rate)[1] for sos in chains)
    return in_phase, quadrature


def lead(of: np.ndarray, over: np.ndarray) -> np.ndarray:
    return np.degrees(np.angle(of / over))


def off_by(sample_rate: float, band_hz: tuple[float, float], **design) -> float:
    """The largest deviation from 90 degrees within a band."""
    in_phase, quadrature = pair(sample_rate, np.geomspace(*band_hz, 20_001), **design)
    return float(np.abs(lead(quadrature, in_phase) - 90).max())


def test_the_default_pair_keeps_90_degrees_within_a_twentieth():
    assert off_by(48_000, (20, 20_000)) < 0.05


def test_no_smaller_pair_would_do():
    assert off_by(48_000, (20, 20_000), order=hilbert.ORDER - 2) > 0.05


@pytest.mark.parametrize(("sample_rate", "limit"), [(16_000, 0.12), (44_100, 0.08), (96_000, 0.05), (192_000, 0.05)])
def test_other_sample_rates(sample_rate, limit):
    assert off_by(sample_rate, (20, min(20_000, 0.49 * sample_rate))) < limit


@pytest.mark.parametrize("order", [2, 4, 6, 8, 10])
@pytest.mark.parametrize(("low_hz", "high_hz"), [(20.0, 20_000.0), (10.0, 15_000.0), (300.0, 3400.0)])
def test_the_error_is_the_ripple_of_the_theory(order, low_hz, high_hz):
    """The equal ripple that elliptic functions predict for a nome raised to the power of the number of poles."""
    ratio = np.tan(np.pi * low_hz / 48_000) / np.tan(np.pi * high_hz / 48_000)
    nome = np.exp(-np.pi * ellipk(ratio**2) / ellipkm1(ratio**2))
    powers = nome ** (2 * order * np.arange(1, 5) ** 2)
    theta3, theta4 = 1 + 2 * powers.sum(), 1 + 2 * (powers * [-1, 1, -1, 1]).sum()
    best = 90 - 2 * np.degrees(np.arctan(theta4 / theta3))
    found = off_by(48_000, (low_hz, high_hz), order=order, low_hz=low_hz, high_hz=high_hz)
    assert found == pytest.approx(best, rel=1e-4, abs=1e-7)


def test_a_turned_pair_has_the_phase_of_the_first_chain_plus_the_angle():
    freqs_hz = np.geomspace(20, 20_000, 500)
    in_phase, quadrature = pair(48_000, freqs_hz)
    for degrees in (-180, -135, -90, -1, 0, 30, 90, 179):
        phi = np.radians(degrees)
        turned = np.cos(phi) * in_phase + np.sin(phi) * quadrature
        np.testing.assert_allclose(turned / in_phase, np.exp(1j * phi), atol=1e-3)


def test_a_sine_comes_out_a_quarter_of_a_period_apart():
    """Heard in time: 100 Hz, once it has settled, in I as a sine and in Q as the cosine that leads it."""
    angle = 2 * np.pi * 100 / 48_000 * np.arange(96_000)
    in_phase, quadrature = (
        sosfilt(hilbert.allpass_sections(p).numpy(), np.sin(angle))[48_000:] for p in hilbert.poles(48_000)
    )
    np.testing.assert_allclose(in_phase**2 + quadrature**2, 1, atol=2e-3)
    quarter = 48_000 // 100 // 4
    np.testing.assert_allclose(quadrature[:-quarter], in_phase[quarter:], atol=2e-3)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.3, 1.0, 5.0])
def test_every_frequency_passes_at_full_level(scale):
    freqs_hz = np.concatenate([[0.0], np.geomspace(1, 23_900, 1000)])
    for chain in pair(48_000, freqs_hz, scale):
        np.testing.assert_allclose(np.abs(chain), 1, rtol=0, atol=1e-9)
    for p in hilbert.poles(48_000):
        sos = hilbert.allpass_sections(p, scale)
        assert torch.equal(sos[:, :2], sos[:, 3:5].flip(-1)), "mirrored coefficients make an all-pass exactly"


def test_no_scale_is_the_identity_in_the_audio_band():
    for chain in pair(48_000, np.geomspace(1, 20_000, 1000), scale=0.0):
        assert np.abs(chain - 1).max() < 1e-3


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_scale_divides_the_warped_frequencies(scale):
    freqs_hz = np.geomspace(20, 15_000, 200)
    moved = np.arctan(scale * np.tan(np.pi * freqs_hz / 48_000)) / np.pi * 48_000
    for found, expected in zip(pair(48_000, freqs_hz, scale), pair(48_000, moved), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_poles_lie_inside_the_unit_circle():
    for sample_rate in (16_000, 48_000, 192_000):
        for p in hilbert.poles(sample_rate):
            assert (p > 0).all()
            assert (p.diff() > 0).all()
            sos = hilbert.allpass_sections(p, torch.logspace(-4, 2, 50))
            assert (sos[..., 4].abs() < 1).all()
            assert (sos[..., 5] == 0).all()


def test_shapes_and_types():
    in_phase, quadrature = hilbert.poles(48_000)
    assert in_phase.shape == quadrature.shape == (hilbert.ORDER,)
    assert in_phase.dtype == quadrature.dtype == torch.float64
    sos = hilbert.allpass_sections(in_phase, torch.rand(2, 5))
    assert sos.shape == (2, 5, hilbert.ORDER, 6)
    assert sos.dtype == torch.float64
    assert hilbert.allpass_sections(in_phase).shape == (hilbert.ORDER, 6)


def test_an_order_of_none_is_refused():
    with pytest.raises(ValueError, match="order is 0, and must be at least 1"):
        hilbert.poles(48_000, 0)


@pytest.mark.parametrize("low_hz", [0.0, 20_000.0])
def test_empty_bands_are_refused(low_hz):
    with pytest.raises(ValueError, match="must lie between 0 and high_hz, here 7840"):
        hilbert.poles(16_000, low_hz=low_hz)


def test_gradients_equal_finite_differences():
    p, _ = hilbert.poles(48_000, order=4)
    scale = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: hilbert.allpass_sections(p, s), scale)
