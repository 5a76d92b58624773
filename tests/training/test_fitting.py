"""Fits and measures: scipy's integrals, autograd, signals of known distortion, and what was asked for."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from nablafx.errors import UserError
from nablafx.layers.siren import SIREN
from nablafx.training.fitting import (
    SINE_HZ,
    Tanh,
    fit_curve,
    fit_taps,
    level_db,
    measure_curve,
    measure_taps,
    thd,
    value_and_slope,
)

PHASE = 2 * np.pi * SINE_HZ * np.arange(48_000) / 48_000


class Known(nn.Module):
    """A curve whose distance from tanh is known."""

    reach = 6.0

    def __init__(self, curve):
        super().__init__()
        self.curve = curve

    def forward(self, x):
        return self.curve(x)


def test_value_and_slope_are_those_of_the_net():
    torch.manual_seed(0)
    siren = SIREN(hidden_size=8).double()
    x = torch.linspace(-1, 1, 33, dtype=torch.float64).unsqueeze(-1).requires_grad_()
    y, slope = value_and_slope(siren, x)
    torch.testing.assert_close(y, siren(x))
    torch.testing.assert_close(slope, torch.autograd.grad(siren(x).sum(), x)[0])


def test_points_are_fresh_and_hold_both_ends():
    generator = torch.Generator().manual_seed(0)
    drawn = [Tanh(6.0).points(64, generator) for _ in range(2)]
    for points in drawn:
        assert points.shape == (64, 1)
        assert points.min() == -1
        assert points.max() == 1
    assert not torch.equal(*drawn)
    gaps = drawn[0].flatten().sort().values.diff()
    assert gaps.max() < 2 * math.pi / 62  # no hole that a net could ring in


def test_a_short_fit_draws_tanh():
    curve = fit_curve(hidden_size=8, steps=100)
    found = measure_curve(curve)
    assert found.inside < 1e-3
    assert found.beyond < 1e-3
    for sine in found.sines:
        assert sine.residual_db < -60
        assert thd(sine.prediction) == pytest.approx(thd(sine.target), abs=1e-3)
    y = curve(torch.tensor([-1e3, 1e3])).detach()
    torch.testing.assert_close(y, torch.tensor([-1.0, 1.0]), atol=1e-3, rtol=0)


def test_a_fit_follows_its_reach():
    curve = fit_curve(hidden_size=4, reach=2.0, steps=40)
    assert measure_curve(curve).inside < 0.02
    assert measure_curve(curve).beyond == pytest.approx(1 - math.tanh(2), abs=0.02)
    assert [sine.amplitude for sine in measure_curve(curve).sines] == [1.0, 2.0]


@pytest.mark.parametrize("level", [1e-4, 300.0])
def test_a_short_fit_draws_taps_of_any_level(level):
    time = np.arange(64) / 8
    taps = level * np.exp(-time) * np.sin(5 * time)
    net = fit_taps(torch.from_numpy(taps), hidden_size=16, steps=60)
    found = measure_taps(taps, net().detach().numpy())
    assert max(found) < -30
    assert net.facts["sample_rate"] == 48_000


def test_a_seed_gives_the_same_weights_whatever_was_drawn_before():
    def weights(seed):
        return torch.cat([p.flatten() for p in fit_curve(hidden_size=4, steps=5, seed=seed).parameters()])

    first = weights(3)
    state = torch.random.get_rng_state()
    assert torch.equal(weights(3), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(weights(4), first)


def test_progress_is_told_to_its_end():
    heard = []
    fit_curve(hidden_size=2, steps=25, tell=lambda *news: heard.append(news))
    done, totals, losses = zip(*heard, strict=True)
    assert done[-1] == totals[-1] == 16 * 5 + 2 * 25
    assert sorted(set(done)) == list(done)
    assert set(totals) == {done[-1]}
    assert np.isfinite(losses).all()


def test_a_fit_that_runs_away_is_told():
    with pytest.raises(UserError, match=r"ran away.*w0 below 1e\+30"):
        fit_curve(hidden_size=2, w0=1e30, steps=5)


@pytest.mark.parametrize("amplitude", [1.0, 6.0])
def test_thd_of_tanh_is_that_of_its_fourier_series(amplitude):
    def wave(phase):
        return math.tanh(amplitude * math.sin(phase))

    energy = 2 * quad(lambda p: wave(p) ** 2, 0, 2 * math.pi)[0] / (2 * math.pi)
    fundamental = (2 * quad(lambda p: wave(p) * math.sin(p), 0, 2 * math.pi)[0] / (2 * math.pi)) ** 2
    want = math.sqrt((energy - fundamental) / fundamental)
    assert thd(np.tanh(amplitude * np.sin(PHASE))) == pytest.approx(want, rel=1e-6)


def test_thd_counts_all_harmonics_and_no_offset():
    y = 0.3 + 2 * np.sin(PHASE) + 0.2 * np.sin(2 * PHASE + 1) + 0.1 * np.cos(40 * PHASE)  # the last one aliases
    assert thd(y) == pytest.approx(math.hypot(0.1, 0.05))


def test_levels():
    x = np.array([3.0, -4.0])
    assert level_db(0.1 * x, x) == pytest.approx(-20)
    assert level_db(0 * x, x) == -math.inf


def test_errors_of_a_known_curve():
    found = measure_curve(Known(lambda x: 1.01 * x.tanh()))
    assert found.inside == pytest.approx(0.01, rel=1e-3)
    assert found.beyond == pytest.approx(0.01, rel=1e-2)
    assert [sine.residual_db for sine in found.sines] == pytest.approx([-40, -40], abs=1e-3)
    assert len(found.x) == len(found.target) == len(found.prediction) == 200_001


def test_ringing_is_seen():
    def ringing(x):
        return x.tanh() + 1e-3 * torch.sin(300 * x)

    found = measure_curve(Known(ringing))
    assert found.inside == pytest.approx(1e-3, rel=1e-3)
    tanh_sine = np.tanh(np.sin(PHASE))
    want = 10 * math.log10(0.5e-6 / np.mean(tanh_sine**2))
    assert found.sines[0].residual_db == pytest.approx(want, abs=0.5)


def test_errors_of_known_taps():
    taps = np.random.default_rng(0).standard_normal(50)
    assert measure_taps(taps, 1.01 * taps) == pytest.approx((-40, -40, -40))
    late = taps.copy()
    late[7] += 0.1 * np.abs(taps).max()
    assert measure_taps(taps, late).tap_db == pytest.approx(-20)
    assert measure_taps(taps, taps) == (-math.inf,) * 3
