"""Oracles: Python's math, the definition of a time constant run sample by sample, finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from nablafx.dsp import units


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_decibels_of_known_amplitudes():
    amplitudes = doubles(1, 10, -0.1, 0.5, 2)
    expected = doubles(0, 20, -20, 20 * math.log10(0.5), 20 * math.log10(2))
    torch.testing.assert_close(units.amplitude_to_db(amplitudes), expected, rtol=1e-14, atol=1e-14)
    assert units.amplitude_to_db(torch.tensor(3 + 4j)) == pytest.approx(20 * math.log10(5))


def test_amplitudes_of_known_decibels():
    torch.testing.assert_close(units.db_to_amplitude(doubles(0, 20, -40, 6)), doubles(1, 10, 0.01, 10**0.3))


def test_there_and_back():
    gain_db = torch.linspace(-150, 150, 301, dtype=torch.float64)
    there = units.db_to_amplitude(gain_db)
    torch.testing.assert_close(units.amplitude_to_db(there), gain_db, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_is_finite_and_so_is_its_gradient(dtype):
    silence = torch.zeros(3, dtype=dtype, requires_grad=True)
    gain_db = units.amplitude_to_db(silence)
    torch.testing.assert_close(gain_db, torch.full_like(gain_db, -200))
    gain_db.sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()
    assert units.amplitude_to_db(silence, floor=1e-3).tolist() == pytest.approx([-60] * 3)
    assert units.db_to_amplitude(torch.tensor(-math.inf)) == 0


@pytest.mark.parametrize(("time_ms", "sample_rate"), [(1.0, 48_000), (20.0, 44_100), (250.0, 48_000)])
def test_a_follower_covers_all_but_one_part_in_e_of_a_step(time_ms, sample_rate):
    p = units.pole(doubles(time_ms), sample_rate).item()
    level = 0.0
    for _ in range(round(0.001 * time_ms * sample_rate)):
        level = p * level + (1 - p)
    assert level == pytest.approx(1 - 1 / math.e, abs=1e-9)


def test_no_time_at_all_follows_at_once():
    time_ms = torch.zeros(1, requires_grad=True)
    p = units.pole(time_ms, 48_000)
    p.sum().backward()
    assert p.item() == 0
    assert time_ms.grad is not None
    assert time_ms.grad.item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    value = torch.ones(2, dtype=dtype)
    found = units.amplitude_to_db(value), units.db_to_amplitude(value), units.pole(value, 48_000)
    assert [v.dtype for v in found] == [dtype] * 3


def test_gradients_equal_finite_differences():
    amplitude, gain_db, time_ms = (
        v.requires_grad_() for v in (doubles(-2, 0.3), doubles(-30, 12), doubles(0.02, 0.1, 3))
    )
    assert torch.autograd.gradcheck(units.amplitude_to_db, amplitude)
    assert torch.autograd.gradcheck(units.db_to_amplitude, gain_db)
    assert torch.autograd.gradcheck(lambda t: units.pole(t, 48_000), time_ms)
