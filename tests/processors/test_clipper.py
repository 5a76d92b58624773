"""The clipper: against a plain loop, an oversampled one, and the aliasing of sines."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import bisect
from scipy.signal import resample_poly

from nablafx.analysis import measure_distortion
from nablafx.controllers import StaticController
from nablafx.effects import GrayBox, Stage
from nablafx.processors import AsymmetricClipper

RATE = 48_000
FIXED = {
    "drive_db": 20.0,
    "bias": 0.3,
    "negative_limit": 2.0,
    "positive_knee": 0.05,
    "negative_knee": 0.4,
    "feedback": 0.7,
    "feedback_cutoff_hz": 200.0,
    "positive_charge_hz": 300.0,
    "negative_charge_hz": 2000.0,
    "discharge_hz": 50.0,
    "charge_passed": 0.4,
}
UNCHARGED = {"positive_charge_hz": 0.0, "negative_charge_hz": 0.0}
STILL = {**FIXED, **UNCHARGED, "feedback": 0.0}


def curve(z: np.ndarray | float, limit: float = 2.0, above: float = 0.05, below: float = 0.8) -> np.ndarray:
    return (np.sqrt((z + limit) ** 2 + below**2) - np.sqrt((z - 1) ** 2 + above**2) + 1 - limit) / 2


def test_against_a_loop():
    x = np.random.default_rng(0).normal(size=3000) * np.repeat([0.001, 0.5, 0.02], 1000)
    poles = {name: np.exp(-2 * np.pi * value / RATE) for name, value in FIXED.items() if name.endswith("_hz")}
    p, q = poles["feedback_cutoff_hz"], poles["discharge_hz"]
    above, below = 1 - poles["positive_charge_hz"], 1 - poles["negative_charge_hz"]

    def charge(v, c):
        up, down = (np.sqrt((v - 1) ** 2 + 0.05**2) + v - 1) / 2, (np.sqrt((v + 2) ** 2 + 0.8**2) - v - 2) / 2
        return q * c + above * up - below * down

    def left(v):
        """Of v that silence has left: what is too much."""
        c = charge(v, 0) / (1 - q)
        return v + 0.7 * (curve(v) + 0.4 * c) + c - 0.3

    v = bisect(left, -5, 5)
    c = charge(v, 0) / (1 - q)
    e = curve(v) + 0.4 * c
    expected = np.empty_like(x)
    for n, driven in enumerate(10 * x):
        v = driven + 0.3 - 0.7 * e - c
        expected[n] = curve(v) + 0.4 * c
        e, c = p * e + (1 - p) * expected[n], charge(v, c)
    y, state = AsymmetricClipper(RATE, **FIXED, antialias=False)(torch.from_numpy(x).view(1, 1, -1))
    np.testing.assert_allclose(y[0, 0], expected, rtol=0, atol=1e-11)
    assert (state["before"].item(), state["fed"].item(), state["charge"].item()) == pytest.approx((v, e, c), abs=1e-11)


@pytest.mark.parametrize("feedback", [-0.9, 0.3, 4.0])
def test_a_constant_held_for_ever_ends_where_it_rests(feedback):
    """With its gradient: that of the end of a long run."""
    clipper = AsymmetricClipper(RATE, **{**FIXED, "feedback": feedback, "drive_db": 0.0, "feedback_cutoff_hz": 500.0})
    x = torch.tensor([[[0.2]]], dtype=torch.float64, requires_grad=True)
    rested, state = clipper.rest(x)
    run, end = clipper(x.expand(-1, -1, 10_000))
    torch.testing.assert_close(run[..., -1:], rested, rtol=0, atol=1e-9)
    torch.testing.assert_close(end, state, rtol=0, atol=1e-9)
    torch.testing.assert_close(*(torch.autograd.grad(y, x)[0] for y in (run[..., -1:], rested)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("feedback", [-1.0, (-2.0, 2.0)])
def test_feedback_that_latches_is_refused(feedback):
    with pytest.raises(ValueError, match="needs numbers above -1"):
        AsymmetricClipper(feedback=feedback)


def test_antialiased_is_near_one_that_is_oversampled():
    """64 times the rate, back without its aliasing: below 4 kHz all harmonics of a low tone are alike, half a sample
    late; a tone of 100 Hz reaches them all."""
    t = np.arange(64 * 9600) / (64 * RATE)
    expected = resample_poly(curve(3 * np.sin(2 * np.pi * 100 * (t - 0.5 / RATE)) + 0.3), 1, 64)
    x = torch.from_numpy(0.3 * np.sin(2 * np.pi * 100 * np.arange(9600) / RATE)).view(1, 1, -1)
    y, _ = AsymmetricClipper(RATE, **STILL)(x)
    # whole periods, past the beginning
    told, wanted = (np.fft.rfft(track[4800:9120])[9:361:9] for track in (y[0, 0].numpy(), expected))
    np.testing.assert_allclose(told, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


def test_aliasing_falls():
    """The aliasing-to-signal ratio of a hard clipper at 30 dB of drive, as the metric `asr` has it."""

    def ratio_db(antialias: bool) -> float:
        processor = partial(AsymmetricClipper, **{**STILL, "drive_db": 30.0}, antialias=antialias)
        box = GrayBox({"clipper": Stage(processor)})
        with torch.no_grad():
            return 10 * np.log10(measure_distortion(lambda x: box(x)[0], RATE).aliasing_to_signal)

    assert ratio_db(True) < ratio_db(False) - 6


def test_a_charge_moves_the_operating_point_with_the_level():
    """Behind a loud tone, which is clipped above, a quiet one meets another bias, and soon the old one again."""
    charged = {"positive_charge_hz": 200.0, "negative_charge_hz": 0.0, "discharge_hz": 5.0, "charge_passed": 0.0}
    clipper = AsymmetricClipper(RATE, **{**FIXED, **charged, "bias": 0.0, "feedback": 0.0})
    x = torch.full((1, 1, 3 * RATE), 1e-4, dtype=torch.float64)
    x[..., RATE : RATE + 4800] = torch.sin(torch.arange(4800) * (2 * np.pi * 440 / RATE))
    y, _ = clipper(x)
    before, behind, after = (y[0, 0, n].item() for n in (RATE - 10, RATE + 4810, 3 * RATE - 1))
    assert behind < before - 0.5
    assert after == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("rate", [44_100, RATE])
def test_a_capacitor_in_series_with_diodes_lets_the_slow_through(rate):
    """All that is charged comes out again: what lasts is not clipped, at any sample rate, and what is short is."""
    charged = {"positive_charge_hz": 100.0, "negative_charge_hz": 0.0, "discharge_hz": 3.0, "charge_passed": 1.0}
    plain = {"bias": 0.0, "feedback": 0.0, "drive_db": 0.0, "negative_knee": 0.02}
    clipper = AsymmetricClipper(rate, **{**FIXED, **charged, **plain})
    x = torch.full((1, 1, rate), 3.0, dtype=torch.float64)
    x[..., : rate // 2] = 0
    y, _ = clipper(x)
    assert y[0, 0, rate // 2 + 1].item() == pytest.approx(1, abs=0.1)
    # what is discharged meanwhile leaves 1 / (1 + 100 / 3) of what is too much
    assert y[0, 0, -1].item() == pytest.approx(3 - 2 / (1 + 100 / 3), abs=0.02)


def test_feedback_moves_the_operating_point_with_the_level():
    """Behind a loud tone, of which more passes above than below, a quiet one meets another bias, and soon the old one
    again."""
    clipper = AsymmetricClipper(
        RATE, **{**FIXED, **UNCHARGED, "negative_limit": 0.2, "bias": 0.0, "feedback_cutoff_hz": 5.0}
    )
    x = torch.full((1, 1, 3 * RATE), 1e-4, dtype=torch.float64)
    x[..., RATE : RATE + 9600] = torch.sin(torch.arange(9600) * (2 * np.pi * 440 / RATE))
    y, _ = clipper(x)
    before, behind, after = (y[0, 0, n].item() for n in (RATE - 10, RATE + 9610, 3 * RATE - 1))
    assert behind < before - 0.1
    assert after == pytest.approx(before, abs=1e-3)


def test_guess_finds_the_drive():
    """Of a wet signal that a clipper made: within 3 dB."""
    x = 0.1 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    for drive in (10.0, 25.0, 40.0):
        wet = torch.tanh(10 ** (drive / 20) * x)
        assert AsymmetricClipper().guess(x, -0.3 * wet)["drive_db"] == pytest.approx(drive, abs=3)
    assert AsymmetricClipper().guess(x, torch.zeros_like(x)) == {}


def test_it_trains_back_to_its_own_settings():
    """A clipper with other settings, fitted to one by gradients, ends with its drive, bias and limit."""
    x = 0.3 * torch.randn(1, 1, 2000, generator=torch.Generator().manual_seed(0))
    target, _ = AsymmetricClipper(RATE, **STILL)(x)
    processor = partial(AsymmetricClipper, **UNCHARGED, feedback=0.0)
    box = GrayBox({"clipper": Stage(processor, StaticController)})
    optimizer = torch.optim.Adam(box.parameters(), lr=0.1)
    for _ in range(200):
        loss = (box(x)[0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = {name: held.values.item() for name, held in next(box.taps(x)).params.items()}
    assert found["drive_db"] == pytest.approx(20, abs=0.5)
    assert found["bias"] == pytest.approx(0.3, abs=0.05)
    assert found["negative_limit"] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("still", "idle", "kept"),
    [
        (UNCHARGED, ("discharge_hz", "charge_passed"), {"before", "fed"}),
        ({"feedback": 0.0}, ("feedback_cutoff_hz",), {"before", "charge"}),
        ({"feedback": 0.0, "positive_charge_hz": 0.0}, ("feedback_cutoff_hz",), {"before", "charge"}),
    ],
)
def test_what_is_not_there_has_neither_times_nor_state(still, idle, kept):
    """A state that only passes through has no name among the outputs of an ONNX graph."""
    clipper = AsymmetricClipper(**still)
    assert not {*still, *idle} & {*clipper.ranges, *clipper.fixed}
    _, state = clipper(torch.randn(1, 1, 8), torch.full((1, clipper.num_parameters, 1), 0.5))
    assert set(state) == kept
