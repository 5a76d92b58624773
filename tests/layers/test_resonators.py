"""Where the poles of resonators lie, and what they do to audio."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import lfilter

from nablafx.layers.resonators import ResonantFilter, ResonatorBank


def test_a_bank_begins_with_poles_from_60_hz_to_6_khz():
    bank = ResonatorBank(3, 48_000)
    z = bank.system().log_z.detach().numpy()[:, 0] * 48_000 / (2 * np.pi)
    np.testing.assert_allclose(z.imag, [60, 600, 6_000], rtol=1e-5)
    np.testing.assert_allclose(z.real, -0.7 * z.imag, rtol=1e-5)


def test_a_bank_filters_as_scipy_does():
    torch.manual_seed(0)
    bank, x = ResonatorBank(2, 48_000).double(), torch.randn(1, 1, 300, dtype=torch.float64)
    with torch.no_grad():
        bank.C.normal_()
        bank.D.normal_()
    system = bank.system()
    _, state = bank.rest(torch.zeros_like(x[..., :1]))
    y, _ = bank(x, state)
    for channel in range(2):
        pole, gain, readout = (
            part.detach().numpy()[channel, 0] for part in (system.log_z.exp(), system.gain, system.readout)
        )
        # 2 Re(c g / (1 - p / z)) + d
        numerator = [2 * (readout * gain).real, -2 * (readout * gain * pole.conj()).real]
        wanted = lfilter(numerator, [1, -2 * pole.real, abs(pole) ** 2], x[0, 0].numpy())
        wanted = wanted + bank.D[channel].item() * x[0, 0].numpy()
        np.testing.assert_allclose(y[0, channel].detach().numpy(), wanted, rtol=1e-9, atol=1e-12)


def test_a_filter_begins_as_the_audio_itself():
    tone, x = ResonantFilter(4, 48_000), torch.randn(2, 1, 100)
    _, state = tone.rest(torch.zeros_like(x[..., :1]))
    torch.testing.assert_close(tone(x, state)[0], x)
    hz = tone.system().log_z.detach().imag[0] * 48_000 / (2 * np.pi)
    torch.testing.assert_close(hz, torch.logspace(np.log10(60), np.log10(6_000), 4).double(), rtol=1e-4, atol=0)


def test_slow_rates_have_lower_ones():
    assert ResonatorBank(4, 1_000).system().log_z.imag.max() < np.pi
