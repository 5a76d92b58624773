"""An LSTM of 40 cells in the JSON layout that Proteus and NeuralPi read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx.effects import LSTM
from nablafx.export.cells import Cell, plain, players_cells, run_cell
from nablafx.export.cells import check as check_players
from nablafx.export.decimals import decimals
from nablafx.export.formats import Check, ExportError, Request
from nablafx.export.model import Model

LAYOUT = "the Proteus layout"
CELLS = 40
MOST_KNOBS = 2
RATE = 44_100


def write(model: Model, path: Path, request: Request) -> None:
    """Write an LSTM with one layer of 40 cells, a residual and no output activation: nothing else is played.

    y = lin(rec(x)) + x. Knobs that FixedConditioning appends are the player's: Proteus turns one, NeuralPi two. What
    FiLM makes of knobs becomes part of the weights, with the knobs as they stand in the request. Players begin with
    states of zero. A file says no sample rate: they resample to 44.1 kHz, where a net trained at 48 kHz sounds as if
    slowed down by 8 %.

    Raises:
        ExportError: the model is another.
    """
    effect = plain(model.effect, LAYOUT)
    layers = players_cells(effect, request.controls)
    _check_size(effect, layers)
    (cell,) = layers
    state = {
        "rec.weight_ih_l0": cell.w_ih,
        "rec.weight_hh_l0": cell.w_hh,
        "rec.bias_ih_l0": cell.bias,
        "rec.bias_hh_l0": torch.zeros_like(cell.bias),
        "lin.weight": effect.linear.weight,
        "lin.bias": effect.linear.bias,
    }
    content = {"model_data": _description(cell.w_ih), "state_dict": {name: decimals(w) for name, w in state.items()}}
    path.write_text(json.dumps(content, allow_nan=False), "utf-8")


def check(model: Model, path: Path, request: Request) -> list[Check]:
    """Read the file again, and run it by the arithmetic of its layout."""
    content = json.loads(path.read_text("utf-8"))
    rates = "" if model.sample_rate == RATE else f"; Proteus runs it at {RATE} Hz, not at {model.sample_rate}"
    runtime = f"{LAYOUT} in numpy{rates}"
    return [check_players(model, request, runtime, lambda x: play(content, x))]


def play(content: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """What a file's net makes of inputs (T, 1 + knobs), from states of zero: (T,)."""
    arrays = {name: np.array(weights) for name, weights in content["state_dict"].items()}
    bias = arrays["rec.bias_ih_l0"] + arrays["rec.bias_hh_l0"]
    h = run_cell(x, arrays["rec.weight_ih_l0"].T, arrays["rec.weight_hh_l0"].T, bias)
    return h @ arrays["lin.weight"][0] + arrays["lin.bias"] + x[:, 0]


def _check_size(effect: LSTM, layers: list[Cell]) -> None:
    """Raise ExportError where players would read another net than this one."""
    size, knobs = effect.lstm.hidden_size, layers[0].w_ih.shape[1] - 1
    needs = [
        (len(layers) == 1, f"{len(layers)} layers", "num_layers: 1"),
        (size == CELLS, f"{size} cells", f"hidden_size: {CELLS}"),
        (effect.residual, "residual: false", "residual: true"),
        (knobs <= MOST_KNOBS, f"{knobs} knobs", f"{MOST_KNOBS} at most"),
    ]
    for met, part, need in needs:
        if not met:
            raise ExportError(
                f"LSTM with {part} cannot be expressed in {LAYOUT}: its players need {need}; train it so, or "
                "--format onnx can"
            )


def _description(w_ih: Tensor) -> dict[str, Any]:
    return {
        "model": "SimpleRNN",
        "input_size": w_ih.shape[1],
        "skip": 1,
        "output_size": 1,
        "unit_type": "LSTM",
        "num_layers": 1,
        "hidden_size": CELLS,
        "bias_fl": True,
    }
