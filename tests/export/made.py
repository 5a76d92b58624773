"""Small models and audio for the tests of exports."""

from __future__ import annotations

from typing import Any

import torch

from nablafx.effects import Effect
from nablafx.export.model import Facts, Model
from nablafx.training.build import build

RATE = 48_000
NAMES = ("D", "T")
LSTM: dict[str, Any] = {"class_path": "LSTM", "init_args": {"hidden_size": 8}}
KNOBBED: dict[str, Any] = {
    "class_path": "LSTM",
    "init_args": {"hidden_size": 8, "conditioning": {"class_path": "FixedConditioning"}},
}
PLAIN: dict[str, Any] = {"class_path": "LSTM", "init_args": {"hidden_size": 40, "output_activation": "none"}}
TFILM: dict[str, Any] = {
    "class_path": "TCN",
    "init_args": {"num_blocks": 2, "channel_width": 4, "conditioning": {"class_path": "TFiLM"}},
}
CHAIN: dict[str, Any] = {
    "class_path": "GrayBox",
    "init_args": {
        "stages": {
            "eq": {"processor": "ParametricEQ", "controller": "StaticController"},
            "bend": {
                "processor": {
                    "class_path": "StaticMLPNonlinearity",
                    "init_args": {"pretrained": "weights/tanh-32.safetensors"},
                }
            },
            "gain": {"processor": "Gain", "controller": {"class_path": "DynamicController"}},
        }
    },
}
DESCRIPTIONS = {"lstm": LSTM, "knobbed": KNOBBED, "plain": PLAIN, "tfilm": TFILM, "chain": CHAIN}


def model(kind: str = "lstm", **facts: Any) -> Model:
    """A model with random weights."""
    torch.manual_seed(0)
    description = DESCRIPTIONS[kind]
    names = NAMES if kind == "knobbed" else ()
    effect: Effect = build(description, len(names), RATE)
    return Model(effect.eval().requires_grad_(False), RATE, names, f"demo/{kind}/smoke", description, Facts(**facts))


def audio(samples: int = 9_600) -> torch.Tensor:
    """(1, 1, T) of noise that swells."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 1, samples, generator=generator) * torch.linspace(0.01, 0.5, samples)
