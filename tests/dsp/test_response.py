"""Oracles: scipy's sosfreqz and freqz, finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import butter, freqz, sosfreqz

from nablafx.dsp import response

SAMPLE_RATE = 44_100


def test_frequencies_rise_in_equal_ratios_to_just_under_nyquist():
    freqs_hz = response.frequencies(SAMPLE_RATE, 200)
    assert freqs_hz.shape == (200,)
    assert freqs_hz.dtype == torch.float64
    assert freqs_hz[0].item() == pytest.approx(20)
    assert 0.995 * SAMPLE_RATE / 2 < freqs_hz[-1] < SAMPLE_RATE / 2
    ratios = freqs_hz[1:] / freqs_hz[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand(199), rtol=1e-12, atol=0)
    assert response.frequencies(SAMPLE_RATE, 3, low_hz=5)[0].item() == pytest.approx(5)


@pytest.mark.parametrize("low_hz", [0, -1, 22_050, 30_000])
def test_frequencies_that_do_not_exist_are_refused(low_hz):
    with pytest.raises(ValueError, match=rf"low_hz is {low_hz}, and must lie between 0 and 22005\.9 Hz"):
        response.frequencies(SAMPLE_RATE, 10, low_hz)


def test_sections_answer_as_in_scipy():
    designs = np.stack(
        [
            butter(6, edge, kind, fs=SAMPLE_RATE, output="sos")
            for edge, kind in ((25, "low"), (3000, "high"), (19_000, "low"))
        ]
    )
    designs = np.stack([designs, 2 * designs])  # a0 is 2 here
    freqs_hz = response.frequencies(SAMPLE_RATE, 300)
    found = response.sos_response(torch.from_numpy(designs), freqs_hz, SAMPLE_RATE)
    assert found.shape == (2, 3, 300)
    assert found.dtype == torch.complex128
    for design, one in zip(designs[0], found[0], strict=True):
        expected = sosfreqz(design, worN=freqs_hz.numpy(), fs=SAMPLE_RATE)[1]
        np.testing.assert_allclose(one, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("length", [1, 2, 3, 64, 1000, 1023])
def test_taps_answer_as_in_scipy(length):
    taps = np.random.default_rng(length).normal(size=(2, 3, length)).astype(np.float32)
    freqs_hz = response.frequencies(SAMPLE_RATE, 50)
    found = response.fir_response(torch.from_numpy(taps), freqs_hz, SAMPLE_RATE)
    assert found.shape == (2, 3, 50)
    assert found.dtype == torch.complex128
    for index in np.ndindex(2, 3):
        expected = freqz(taps[index].astype(float), worN=freqs_hz.numpy(), fs=SAMPLE_RATE)[1]
        np.testing.assert_allclose(found[index], expected, rtol=0, atol=1e-10)


def test_a_delay_has_the_phase_of_its_length():
    """Ten seconds of it: the angle must not drift."""
    taps = torch.zeros(441_000)
    taps[-1] = 1
    freqs_hz = torch.tensor([1000.0, 12_345.6])
    found = response.fir_response(taps, freqs_hz, SAMPLE_RATE)
    cycles = freqs_hz.double() * 440_999 / SAMPLE_RATE
    expected = torch.polar(torch.ones_like(cycles), -2 * torch.pi * (cycles % 1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_gradients_equal_finite_differences():
    torch.manual_seed(0)
    freqs_hz = torch.tensor([50.0, 4000.0, 20_000.0])
    sos = torch.randn(2, 2, 6, dtype=torch.float64)
    sos[..., 3] = 4
    taps = torch.randn(2, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: response.sos_response(s, freqs_hz, SAMPLE_RATE), sos.requires_grad_())
    assert torch.autograd.gradcheck(lambda t: response.fir_response(t, freqs_hz, SAMPLE_RATE), taps.requires_grad_())
