"""Streams through exports, beside the effect at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle

import numpy as np
import torch

from nablafx.conditioning import FiLM, FixedConditioning, TFiLM, TinyTFiLM, TVFiLM
from nablafx.controllers import DynamicCondController, DynamicController, StaticCondController, StaticController
from nablafx.effects import GCN, LSTM, S4, TCN, Effect, EnvelopeLSTM, GrayBox, Stage
from nablafx.export.exported import ExportEngine
from nablafx.processors import (
    AsymmetricClipper,
    Compressor,
    CouplingCapacitor,
    DCOffset,
    FirstOrderLowpass,
    Gain,
    Highshelf,
    Lowpass,
    Mix,
    Polarity,
    StaticFIRFilter,
    StaticRationalNonlinearity,
)
from tests.contract.cases import STEEP

# of the largest sample; float32 itself leaves STEEP as far from float64
LARGEST = 1e-5
UNCERTAIN = 5e-4
NUM_CONTROLS = 2
BLOCKS = {"block_size": 16}
AHEAD, BEHIND = ({**BLOCKS, "lookahead": lookahead} for lookahead in (True, False))

# every way that something is exported, in as few models as can be
MODELS: dict[str, Callable[[], Effect]] = {
    "LSTM": partial(LSTM, hidden_size=6, num_layers=2, direct_path=True),
    "LSTM with knobs": partial(LSTM, NUM_CONTROLS, hidden_size=5, conditioning=FixedConditioning),
    "LSTM that is steered": partial(LSTM, hidden_size=5, conditioning=partial(TVFiLM, **AHEAD)),
    "cold LSTM": partial(LSTM, hidden_size=5, cold_start=True),
    "LSTM of envelopes": partial(EnvelopeLSTM, NUM_CONTROLS, hidden_size=5, conditioning=partial(TVFiLM, **BEHIND)),
    "TCN": partial(TCN, num_blocks=3, channel_width=3, channel_growth=2, act_type="rational", residual_delay=1),
    "TCN of one tap": partial(TCN, num_blocks=2, kernel_size=1, act_type="prelu", direct_path=True),
    "TCN with knobs": partial(TCN, NUM_CONTROLS, num_blocks=2, channel_width=4, conditioning=FiLM),
    "TCN that looks ahead": partial(TCN, NUM_CONTROLS, num_blocks=2, conditioning=partial(TinyTFiLM, **AHEAD)),
    "GCN that does not": partial(GCN, num_blocks=2, channel_width=4, conditioning=partial(TFiLM, **BEHIND)),
    "S4": partial(S4, num_blocks=2, channel_width=4, num_states=3),
    "S4 that is steered": partial(
        S4, NUM_CONTROLS, num_blocks=1, channel_width=4, conditioning=partial(TVFiLM, **BEHIND)
    ),
    "cold S4 that is steered": partial(
        S4, num_blocks=1, channel_width=4, cold_start=True, conditioning=partial(TVFiLM, **BEHIND)
    ),
    "static chain": lambda: GrayBox(
        {
            "shelf": Stage(Highshelf, StaticController),
            "drive": Stage(Gain, StaticController),
            "offset": Stage(partial(DCOffset, offset=(0.0, 0.2)), partial(StaticController, init=0.9)),
            "curve": Stage(StaticRationalNonlinearity),
            "cabinet": Stage(StaticFIRFilter),
            "mix": Stage(Mix, StaticController),
        }
    ),
    "clipper": lambda: GrayBox(
        {
            "polarity": Stage(Polarity),
            "coupling": Stage(CouplingCapacitor, StaticController),
            "clipper": Stage(AsymmetricClipper, partial(StaticController, init=0.6)),
            "charged": Stage(partial(AsymmetricClipper, feedback=0.0, positive_charge_hz=0.0), StaticController),
            "fed": Stage(
                partial(AsymmetricClipper, positive_charge_hz=0.0, negative_charge_hz=0.0, antialias=False),
                StaticController,
            ),
            "still": Stage(
                partial(AsymmetricClipper, feedback=0.0, positive_charge_hz=0.0, negative_charge_hz=0.0),
                StaticController,
            ),
        }
    ),
    "low-pass": lambda: GrayBox(
        {"tone": Stage(Lowpass, StaticController), "shunt": Stage(FirstOrderLowpass, StaticController)}
    ),
    "chain with knobs": lambda: GrayBox(
        {
            "compressor": Stage(Compressor, StaticCondController),
            "tone": Stage(Lowpass, StaticCondController),
            "gain": Stage(Gain, partial(DynamicCondController, hidden_size=3, **BEHIND)),
        },
        NUM_CONTROLS,
    ),
    "chain that is steered": lambda: GrayBox(
        {
            "offset": Stage(partial(DCOffset, offset=(0.0, 0.2)), StaticController),
            "wah": Stage(Lowpass, partial(DynamicController, **AHEAD)),
        }
    ),
}


def made(name: str) -> Effect:
    torch.manual_seed(0)
    return MODELS[name]().eval().requires_grad_(False)


def knobs(effect: Effect) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """(1, P) to begin with, and others."""
    if not effect.num_controls:
        return None, None
    first = torch.tensor([[0.2, 0.7, 0.4, 0.9][: effect.num_controls]])
    return first, 1 - first


def noise(samples: int) -> torch.Tensor:
    """(1, 1, T)."""
    return torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(2)) * 0.3


def difference(effect: Effect, engine: ExportEngine, sizes: list[int], samples: int = 700) -> float:
    """Between a stream in blocks of these sizes, over and over, and the effect at once; knobs are turned on the way.

    Of the largest sample.
    """
    controls, turned = knobs(effect)
    x = noise(samples // sum(sizes) * sum(sizes) * 2)
    half = x.shape[-1] // 2
    with torch.inference_mode():
        first, state = effect(x[..., :half], controls)
        second, _ = effect(x[..., half:], turned, state)
    expected = torch.cat([first, second], dim=-1).flatten().numpy()
    engine.reset(controls)
    heard = stream(engine, x[0, 0, :half].numpy(), sizes)
    engine.turn(turned)
    heard = np.concatenate([heard, stream(engine, x[0, 0, half:].numpy(), sizes)])
    assert expected.std() > 1e-5
    return float(np.abs(heard - expected).max() / np.abs(expected).max())


def stream(engine: ExportEngine, x: np.ndarray, sizes: list[int]) -> np.ndarray:
    outputs, start = [], 0
    for size in cycle(sizes):
        if start >= len(x):
            return np.concatenate(outputs)
        outputs.append(engine.run(x[start : start + size]).copy())
        start += size
    raise AssertionError


def sizes_for(effect: Effect) -> list[int]:
    """Blocks of many sizes that are whole frames."""
    return [frames * effect.frame_size for frames in ((1, 2, 5) if effect.frame_size > 1 else (1, 7, 64, 100))]


def allowed(name: str) -> float:
    return UNCERTAIN if name in STEEP else LARGEST
