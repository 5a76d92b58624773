"""A chain that begins where recordings of a device tell it to. The devices are made, and so known."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from nablafx.controllers import DynamicController, StaticCondController, StaticController
from nablafx.dsp.biquad import lowpass, peaking
from nablafx.dsp.filtering import sosfilt
from nablafx.effects import GrayBox, Stage
from nablafx.processors import (
    AsymmetricClipper,
    Cabinet,
    CouplingCapacitor,
    Gain,
    LogParametricEQ,
    ParametricEQ,
    Polarity,
)

RATE = 48_000


def noise(items: int = 2, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(items, 1, RATE, generator=torch.Generator().manual_seed(seed))


def error(model: GrayBox, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(x)[0] - y).square().sum() / y.square().sum())


def equaliser(controller=StaticController, num_controls: int = 0) -> GrayBox:
    stages = {
        "polarity": Stage(Polarity),
        "eq": Stage(LogParametricEQ, controller),
        "gain": Stage(partial(Gain, gain_db=(-40.0, 40.0)), controller),
    }
    return GrayBox(stages, num_controls)


def device(x: torch.Tensor) -> torch.Tensor:
    """Inverts, has a bell of 9 dB at 1.5 kHz and a gain of -14 dB."""
    y, _ = sosfilt(x, peaking(9.0, 1500.0, 0.9, RATE).view(1, 1, 1, 6))
    return -(10 ** (-14 / 20)) * y


def test_a_linear_device_is_found():
    x = noise()
    model = equaliser()
    assert error(model, x, device(x)) > 1
    told = model.initialise(x, device(x), None)
    assert error(model, x, device(x)) < 0.01
    taps = {tap.name: tap for tap in model.taps(x[:1])}
    gain_db = 20 * taps["eq"].response(torch.tensor([50.0, 1500.0, 12_000.0], dtype=torch.float64))[0, 0].abs().log10()
    overall = gain_db + taps["gain"].params["gain_db"].values.item()
    torch.testing.assert_close(overall, torch.tensor([-14.0, -5.0, -14.0], dtype=torch.float64), rtol=0, atol=1.0)
    assert told.startswith("polarity: sign -1; eq: 15 values; gain: gain_db ")


def test_the_sign_is_kept_with_the_weights():
    x, model, other = noise(), equaliser(), equaliser()
    model.initialise(x, device(x), None)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x)[0], model(x)[0])


def test_knobs_in_the_middle_give_what_was_found():
    x = noise()
    model = equaliser(StaticCondController, 2)
    model.initialise(x, device(x), torch.full((2, 2), 0.5))
    with torch.no_grad():
        y, _ = model(x, torch.full((2, 2), 0.5))
    assert (y - device(x)).square().sum() < 0.01 * device(x).square().sum()


def test_a_response_that_sections_cannot_follow_is_found_by_taps():
    x = noise()
    echo = torch.zeros_like(x)
    echo[..., 300:] = x[..., :-300]
    y = 0.4 * x - 0.3 * echo
    model = GrayBox({"cabinet": Stage(Cabinet)})
    model.initialise(x, y, None)
    taps = model.links["cabinet"].processor.taps()
    assert taps[0].item() == pytest.approx(0.4, abs=0.01)
    assert taps[300].item() == pytest.approx(-0.3, abs=0.01)
    assert error(model, x, y) < 1e-3


def test_a_clipper_between_filters_begins_near_its_device():
    # of low frequency: the clipper's own half sample of delay is not to be found here
    x = 5 * sosfilt(noise(), lowpass(1000.0, 0.7, RATE).view(1, 1, 1, 6))[0]
    bent = torch.tanh(10 ** (28 / 20) * sosfilt(x, peaking(-3.0, 200.0, 0.7, RATE).view(1, 1, 1, 6))[0])
    stages = {
        "polarity": Stage(Polarity),
        "input": Stage(CouplingCapacitor, partial(StaticController, init=0.01)),
        "clipper": Stage(AsymmetricClipper, StaticController),
        "eq": Stage(LogParametricEQ, StaticController),
        "gain": Stage(Gain, StaticController),
    }
    model = GrayBox(stages)
    model.initialise(x, -0.5 * bent, None)
    assert error(model, x, -0.5 * bent) < 0.15


@pytest.mark.parametrize("level", [0.0, 1e-7])
def test_what_cannot_be_told_stays(level):
    """Silence, and controllers that cannot be set."""
    x = noise()
    stages = {
        "eq": Stage(ParametricEQ, StaticController),
        "clipper": Stage(AsymmetricClipper, StaticController),
        "gain": Stage(Gain, StaticController),
    }
    model = GrayBox(stages)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.initialise(x, torch.zeros_like(x), None)
    model.initialise(torch.zeros_like(x), level * x, None)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    moving = GrayBox({"gain": Stage(Gain, DynamicController)})
    assert moving.initialise(x, 3 * x, None) == ""
