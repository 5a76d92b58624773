"""What a .nam file says of a model besides its weights."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx.effects import Effect
from nablafx.export.formats import Request
from nablafx.export.model import GEAR_TYPES, TONE_TYPES, Facts, Model
from nablafx.export.nam.fields import Fields, is_finite

# what the format calls what a model's facts have
TEXTS = {"modeled_by": "author", "gear_make": "gear_make", "gear_model": "gear_model"}
LEVELS = ("input_level_dbu", "output_level_dbu")
NOISE_DB = -15.0
GAINS = 11


def loudness_input(sample_rate: int) -> Tensor:
    """What loudness and gain are measured with: a second of pink noise, 20 Hz to 20 kHz, of -15 dBFS RMS; (T,).

    NAM measures with a recording of its own, whose octaves and level this noise has: on the same model the figures
    come close, and are not the same.
    """
    frequencies = np.fft.rfftfreq(sample_rate, 1 / sample_rate)
    heard = (frequencies >= 20) & (frequencies <= 20_000)
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(frequencies))
    spectrum = np.where(heard, np.exp(1j * phases) / np.sqrt(np.maximum(frequencies, 1)), 0)
    noise = np.fft.irfft(spectrum, sample_rate)
    return torch.from_numpy(noise * 10 ** (NOISE_DB / 20) / np.sqrt(np.mean(noise**2))).float()


@torch.no_grad()
def measure(effect: Effect, controls: Tensor | None, sample_rate: int) -> dict[str, float]:
    """loudness: 20 log10 RMS of the output for `loudness_input`, dB. gain: how much it compresses, 0 to 1.

    For gain the noise is played at 0, 0.1, … 1 times its level. With r_n the RMS of the outputs, (Σ r - m) / m for
    m = 11 r_10 / 2, within [0, 1]: 0 for a linear device, 1 for one that always gives the same level. Neither for a
    device that stays silent.
    """
    gains = torch.linspace(0, 1, GAINS).view(-1, 1, 1)
    knobs = None if controls is None else controls.expand(GAINS, -1)
    y, _ = effect(gains * loudness_input(sample_rate), knobs)
    levels = y.double().square().mean(-1).sqrt().flatten()
    loudest = float(levels[-1])
    if not 0 < loudest < math.inf:
        return {}
    least = GAINS * loudest / 2
    return {"loudness": 20 * math.log10(loudest), "gain": min(max((float(levels.sum()) - least) / least, 0.0), 1.0)}


def metadata(model: Model, request: Request, now: datetime) -> dict[str, Any]:
    """The section of a file that is written at `now`."""
    facts = model.facts
    words = {key: facts.get(name) for key, name in TEXTS.items()}
    kinds = {"gear_type": (facts.get("gear_type"), GEAR_TYPES), "tone_type": (facts.get("tone_type"), TONE_TYPES)}
    parts = ("year", "month", "day", "hour", "minute", "second")
    told = {
        "date": {part: getattr(now, part) for part in parts},
        "name": model.name,
        **words,
        **{key: value if value in known else None for key, (value, known) in kinds.items()},
        **{key: facts.get(key) for key in LEVELS},
        **measure(model.effect, request.controls, model.sample_rate),
        "training": _training(facts),
    }
    return {key: value for key, value in told.items() if value is not None}


def _training(facts: Facts) -> dict[str, Any]:
    """Wet audio is taken as it was recorded: no latency has been compensated by hand."""
    return {"data": {"latency": {"manual": 0}}, "validation_esr": facts.get("validation_esr")}


def facts_of(fields: Fields) -> Facts:
    """What a file says; what is not as it should be is passed over, for nothing depends on it."""
    told = _section(fields.content, "metadata")
    facts: dict[str, Any] = {name: told[key] for key, name in TEXTS.items() if isinstance(told.get(key), str)}
    for key, known in (("gear_type", GEAR_TYPES), ("tone_type", TONE_TYPES)):
        if told.get(key) in known:
            facts[key] = told[key]
    facts |= {key: told[key] for key in LEVELS if is_finite(told.get(key))}
    esr = _section(told, "training").get("validation_esr")
    if is_finite(esr):
        facts["validation_esr"] = esr
    return facts  # type: ignore[return-value]


def name_of(fields: Fields) -> str | None:
    """The model's name in the file, where it has one."""
    name = _section(fields.content, "metadata").get("name")
    return name if isinstance(name, str) and name else None


def _section(content: dict[str, Any], key: str) -> dict[str, Any]:
    section = content.get(key)
    return section if isinstance(section, dict) else {}
