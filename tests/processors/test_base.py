"""Ranges, what u means, and what a wrong range is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx.layers.held import Held
from nablafx.processors import Gain, Highpass, Highshelf, Lowpass, Lowshelf, ParametricEQ, Peaking, ShelvingEQ


def test_linear_and_log_ranges():
    processor = Lowpass(cutoff_hz=(20.0, 20_000.0, "log"), q=(0.1, 10.0))
    u = torch.linspace(0, 1, 11, dtype=torch.float64).view(1, 1, -1).repeat(1, 2, 1)
    found = processor.denormalise(Held(u))
    np.testing.assert_allclose(found["cutoff_hz"].values[0, 0], np.geomspace(20, 20_000, 11), rtol=1e-12)
    np.testing.assert_allclose(found["q"].values[0, 0], np.linspace(0.1, 10, 11), rtol=1e-12)


def test_a_linear_range_beside_a_log_one_may_hold_zero():
    processor = Peaking(gain_db=(-12.0, 12.0), cutoff_hz=(20.0, 20_000.0, "log"))
    u = torch.full((1, 3, 1), 0.5, dtype=torch.float64, requires_grad=True)
    found = processor.denormalise(Held(u))
    assert found["gain_db"].values.item() == 0
    sum(p.values for p in found.values()).sum().backward()
    assert u.grad.isfinite().all()


def test_a_number_fixes_a_parameter():
    processor = Peaking(cutoff_hz=1000.0)
    assert list(processor.ranges) == ["gain_db", "q"]
    assert processor.fixed == {"cutoff_hz": 1000.0}
    assert processor.num_parameters == 2
    u = torch.rand(1, 2, 1, dtype=torch.float64)
    whole = Peaking()
    full = torch.stack([u[:, 0], (torch.tensor([[1000.0]]) - 20) / 19_980, u[:, 1]], dim=1)
    x = torch.randn(1, 1, 500, dtype=torch.float64)
    torch.testing.assert_close(processor(x, u)[0], whole(x, full)[0], rtol=1e-6, atol=1e-6)


def test_all_fixed_is_a_plain_filter():
    processor = Lowpass(cutoff_hz=1000, q=0.7)
    assert processor.num_parameters == 0
    y, state = processor(torch.randn(3, 1, 100))
    assert y.shape == (3, 1, 100)
    assert state.shape == (3, 1, 1, 2)


def test_a_range_of_no_width_keeps_its_parameter():
    processor = Lowpass(cutoff_hz=(20_000, 20_000), q=(0.7, 0.7))
    assert processor.num_parameters == 2
    u = torch.rand(4, 2, 1, requires_grad=True)
    values = processor.denormalise(Held(u))
    assert torch.equal(values["cutoff_hz"].values, torch.full((4, 1, 1), 20_000, dtype=torch.float64))
    values["q"].values.sum().backward()
    assert torch.equal(u.grad, torch.zeros_like(u))


def test_cutoffs_stay_under_half_the_sample_rate():
    for rate in (48_000, 44_100, 22_050):
        ranges = ShelvingEQ(rate).ranges
        assert ranges["lowpass_cutoff_hz"].high == pytest.approx(min(24_000, 0.49 * rate))
        assert ranges["highpass_cutoff_hz"].high == 2000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Gain(gain_db=(10, -10)),
            r"Gain: gain_db is \(10, -10\); it needs a number, or two with the lower one",
        ),
        (lambda: Gain(gain_db=(float("nan"), 1)), "Gain: gain_db is .*; it needs a number, or two"),
        (lambda: Gain(gain_db=(-1, 1, "log")), "Gain: gain_db is .*; a log range must lie above 0"),
        (lambda: Gain(gain_db=(0.1, 1, "exp")), "Gain: gain_db is .*; its mapping must be linear or log"),
        (
            lambda: Lowpass(cutoff_hz=30_000),
            "Lowpass: cutoff_hz is 30000; a cut-off must lie above 0 and under 23520 Hz",
        ),
        (lambda: Highpass(cutoff_hz=(0, 100)), "Highpass: cutoff_hz is .*; a cut-off must lie above 0"),
    ],
)
def test_wrong_ranges_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_u_of_several_values_is_cut_into_equal_blocks():
    """N values for T samples hold for ceil(T / N) samples each."""
    gain = Gain(gain_db=(0.0, 20.0))
    u = torch.tensor([[[0.0, 1.0, 0.5]]])
    y, _ = gain(torch.ones(1, 1, 10), u)
    expected = [1] * 4 + [10] * 4 + [10**0.5] * 2
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-6)


def test_parametric_eq_is_its_five_filters_in_series():
    eq = ParametricEQ()
    bands = {"low_shelf": Lowshelf, "peak1": Peaking, "peak2": Peaking, "peak3": Peaking, "high_shelf": Highshelf}
    names = ("gain_db", "cutoff_hz", "q")
    assert list(eq.ranges) == [f"{band}_{name}" for band in bands for name in names]
    u = torch.rand(1, 15, 1, dtype=torch.float64)
    freqs = torch.logspace(1.5, 4.3, 50, dtype=torch.float64)
    params = {name: held.values[:, 0] for name, held in eq.denormalise(Held(u)).items()}
    product = torch.ones(1, 1, 50, dtype=torch.complex128)
    for band, kind in bands.items():
        product = product * kind().response(freqs, **{name: params[f"{band}_{name}"] for name in names})
    torch.testing.assert_close(eq.response(freqs, **params), product)


def test_repr_tells_ranges():
    assert repr(Peaking(cutoff_hz=(100, 200, "log"), q=0.7)) == (
        "Peaking(gain_db=[-12.0, 12.0, 'linear'], cutoff_hz=[100, 200, 'log'], q=0.7)"
    )
