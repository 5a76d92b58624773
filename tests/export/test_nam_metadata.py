"""What a .nam file says besides its weights."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from nablafx.effects import Effect
from nablafx.export import nam
from nablafx.export.nam.metadata import loudness_input, measure

from .nam_models import CASES, RATE, model_of, request_of, trained


def test_what_the_file_says_besides_weights(tmp_path):
    facts = {
        "author": "A. N.",
        "gear_make": "Ibanez",
        "gear_model": "TS9",
        "gear_type": "pedal",
        "tone_type": "overdrive",
    }
    facts |= {
        "input_level_dbu": 12.0,
        "output_level_dbu": 11.5,
        "validation_esr": 0.0123,
        "metrics": {"esr": 0.2, "mae": 0.1},
        "license": "MIT",
    }
    effect, path = trained(CASES["lstm"]), tmp_path / "model.nam"
    model = model_of(effect, **facts)
    nam.write(model, path, request_of(effect))
    content = json.loads(path.read_text())
    assert (content["version"], content["sample_rate"]) == ("0.7.0", RATE)
    told = content["metadata"]
    assert set(told["date"]) == {"year", "month", "day", "hour", "minute", "second"}
    assert (told["name"], told["modeled_by"]) == ("Green drive", "A. N.")
    assert (told["gear_make"], told["gear_model"], told["gear_type"]) == ("Ibanez", "TS9", "pedal")
    assert (told["tone_type"], told["input_level_dbu"], told["output_level_dbu"]) == ("overdrive", 12.0, 11.5)
    assert told["training"] == {"data": {"latency": {"manual": 0}}, "validation_esr": 0.0123}
    assert content["config"]["condition_dsp"]["sample_rate"] == RATE
    again = nam.read_nam(path)
    assert again.facts == {k: v for k, v in facts.items() if k not in ("license", "metrics")}


def test_words_that_the_format_does_not_know_are_left_out(tmp_path):
    effect, path = trained(CASES["tcn"]), tmp_path / "model.nam"
    nam.write(model_of(effect, gear_type="wah", tone_type="sweet"), path, request_of(effect))
    assert not {"gear_type", "tone_type", "modeled_by", "input_level_dbu"} & set(
        json.loads(path.read_text())["metadata"]
    )


class Shaper(Effect):
    """y = f(x)."""

    def __init__(self, f) -> None:
        super().__init__()
        self.f = f

    def rest(self, x, controls):
        return x

    def process(self, x, controls, state):
        return self.f(x), state


def test_loudness_and_gain():
    """Of devices whose figures follow from the definition."""
    linear = measure(Shaper(lambda x: 0.5 * x), None, RATE)
    assert linear["loudness"] == pytest.approx(-15 + 20 * math.log10(0.5), abs=1e-4)
    assert linear["gain"] == pytest.approx(0, abs=1e-5)
    # a square wave has the same level whatever is played, but for silence: (10 - 5.5) / 5.5
    fuzz = measure(Shaper(torch.sign), None, RATE)
    assert fuzz["loudness"] == pytest.approx(0, abs=1e-4)
    assert fuzz["gain"] == pytest.approx(4.5 / 5.5, abs=1e-5)
    assert measure(Shaper(torch.zeros_like), None, RATE) == {}


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_the_noise_that_loudness_is_measured_with(rate):
    noise = loudness_input(rate).double().numpy()
    assert 20 * math.log10(np.sqrt(np.mean(noise**2))) == pytest.approx(-15, abs=1e-4)
    assert np.abs(noise).max() < 1
    power, frequencies = np.abs(np.fft.rfft(noise)) ** 2, np.fft.rfftfreq(rate, 1 / rate)
    octaves = [power[(frequencies >= f) & (frequencies < 2 * f)].sum() for f in (62.5, 250, 1000, 4000)]
    assert 10 * np.log10(max(octaves) / min(octaves)) < 0.2
