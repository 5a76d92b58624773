"""Chains: their order, their taps, their options, and what a wrong one is told."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from nablafx.controllers import (
    DynamicCondController,
    DynamicController,
    StaticCondController,
    StaticController,
)
from nablafx.effects import GrayBox, Stage
from nablafx.effects.base import UnheardControlsError
from nablafx.processors import (
    Compressor,
    Gain,
    Lowpass,
    Mix,
    Peaking,
    PhaseInversion,
    StaticMLPNonlinearity,
    TanhNonlinearity,
)
from nablafx.training.optimizers import parameter_groups


def drive(num_controls: int = 0, **more: Stage) -> GrayBox:
    stages = {
        "eq": Stage(Peaking, StaticController),
        "drive": Stage(partial(Gain, gain_db=(0.0, 40.0)), DynamicController),
        "bend": Stage(TanhNonlinearity),
        **more,
    }
    torch.manual_seed(0)
    return GrayBox(stages, num_controls)


def test_chain_is_the_composition_of_its_stages():
    model = drive()
    x = torch.randn(2, 1, 512)
    y, _ = model(x)
    eq, gain = model.links["eq"], model.links["drive"]
    h, _ = eq.processor(x, eq.controller(x, None, ())[0])
    _, state = gain.controller.rest(torch.zeros(2, 1, 1), None)
    h, _ = gain.processor(h, gain.controller(h, None, state)[0])
    torch.testing.assert_close(y, torch.tanh(h))


def test_taps_tell_each_stage():
    model = drive()
    x = torch.randn(2, 1, 512)
    taps = {tap.name: tap for tap in model.taps(x)}
    assert list(taps) == ["eq", "drive", "bend"]
    y, _ = model(x)
    assert torch.equal(taps["bend"].audio, y)
    assert taps["drive"].params["gain_db"].values.shape == (2, 1, 4)
    assert taps["drive"].params["gain_db"].block_size == 128
    in_db = taps["drive"].params["gain_db"].at_samples(512)
    torch.testing.assert_close(
        taps["drive"].audio, taps["eq"].audio * (10 ** (in_db / 20)).float(), rtol=1e-5, atol=1e-6
    )
    freqs = torch.tensor([100.0, 1000.0])
    assert taps["eq"].response(freqs).shape == (1, 1, 2)
    assert taps["drive"].response(freqs).shape == (2, 4, 2)
    assert taps["bend"].response(freqs) is None
    torch.testing.assert_close(taps["bend"].curve(freqs), torch.ones(1, 1, 2))
    assert taps["eq"].curve(freqs) is None


def test_taps_go_on_from_a_state():
    model = drive()
    x = torch.randn(1, 1, 1024)
    whole = [tap.audio for tap in model.taps(x)]
    _, state = model(x[..., :512])
    rest = [tap.audio for tap in model.taps(x[..., 512:], state=state)]
    for a, b in zip(whole, rest, strict=True):
        torch.testing.assert_close(a[..., 512:], b, rtol=1e-5, atol=1e-6)


def test_mix_takes_the_input_of_the_chain():
    model = GrayBox({"invert": Stage(PhaseInversion), "mix": Stage(partial(Mix, mix=0.25))})
    x = torch.randn(1, 1, 100)
    torch.testing.assert_close(model(x)[0], 0.5 * x)


def test_frame_is_a_multiple_of_every_controllers():
    short, long = (partial(DynamicController, block_size=size) for size in (48, 128))
    assert GrayBox({"a": Stage(Gain, short), "b": Stage(Gain, long)}).frame_size == 384
    assert GrayBox({"a": Stage(Gain, partial(long, lookahead=False))}).frame_size == 1


def test_sample_rate_reaches_the_processors():
    freqs = torch.tensor([1000.0])
    for rate in (44_100, 96_000):
        model = GrayBox({"lp": Stage(partial(Lowpass, cutoff_hz=1000, q=0.8))}, sample_rate=rate)
        (tap,) = model.taps(torch.zeros(1, 1, 4))
        assert tap.response(freqs).abs().item() == pytest.approx(0.8)


def test_learning_rate_of_a_siren_is_its_own():
    model = GrayBox({"gain": Stage(Gain, StaticController), "bend": Stage(StaticMLPNonlinearity)})
    assert model.parameter_options() == {"stages.bend": {"lr_multiplier": 0.01}}
    rates = {group["lr"] for group in parameter_groups(model, lr=0.1, weight_decay=0.0)}
    assert sorted(rates) == pytest.approx([0.001, 0.1])


def test_one_listener_is_enough_for_the_controls():
    model = drive(2, knob=Stage(Gain, StaticCondController))
    assert model.num_controls == 2
    x = torch.randn(1, 1, 256)
    low, high = (model(x, torch.tensor([[v, 0.5]]))[0] for v in (0.0, 1.0))
    assert not torch.allclose(low, high)
    assert drive(2, knob=Stage(Gain, DynamicCondController)).num_controls == 2


def test_unheard_controls_are_refused_with_the_cure():
    with pytest.raises(UnheardControlsError, match=r"has 2 controls, and no controller .*StaticCondController"):
        drive(2)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({}, "GrayBox: got no stages"),
        ({"a.b": Stage(TanhNonlinearity)}, r"a stage cannot be named 'a\.b'; use letters"),
        ({"keys": Stage(TanhNonlinearity)}, "a stage cannot be named 'keys'"),
        (
            {"eq": Stage(Peaking)},
            r"stage 'eq' has a Peaking with 3 parameters \(gain_db, cutoff_hz, q\) and no controller",
        ),
        ({"bend": Stage(TanhNonlinearity, StaticController)}, "stage 'bend' has a TanhNonlinearity without parameters"),
    ],
)
def test_wrong_chains_are_told(stages, message):
    with pytest.raises(ValueError, match=message):
        GrayBox(stages)


def test_remark_names_the_backend():
    assert drive().remark() == f"filters run by numba on {torch.get_num_threads()} threads, compiled once"


def test_a_chain_of_filters_without_parameters_runs():
    model = GrayBox({"comp": Stage(partial(Compressor, **dict.fromkeys(Compressor().ranges, 1.0)))})
    assert model(torch.randn(2, 1, 10))[0].shape == (2, 1, 10)
    assert model.remark()
