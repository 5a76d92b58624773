"""An LSTM in the JSON layout of RTNeural, which AIDA-X and other players read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nablafx.export.cells import check as check_players
from nablafx.export.cells import plain, players_cells, run_cell
from nablafx.export.decimals import decimals
from nablafx.export.formats import Check, Request
from nablafx.export.model import Model

AIDA_X_SIZES = (8, 12, 16, 20, 32, 40, 64, 80)
AIDA_X_INPUTS = 3


def write(model: Model, path: Path, request: Request) -> None:
    """Write an LSTM without output activation: y = dense(lstm(x)) + x[0], the last term where it has a residual.

    Knobs that FixedConditioning appends are inputs of the file, after the audio. What FiLM makes of knobs becomes part
    of the weights, with the knobs as they stand in the request.

    Players differ. RTNeural itself knows any number of layers, and activations, of the dense layer too. AIDA-X reads
    one layer of AIDA_X_SIZES cells, with up to 3 inputs, and passes over an activation without a word. All of them add
    the input at the very end, after an activation, and begin with states of zero.

    Raises:
        ExportError: a part of the model has no form that all of them play alike.
    """
    effect = plain(model.effect, "the RTNeural layout")
    recurrent = [
        _layer("lstm", [cell.w_ih.T, cell.w_hh.T, cell.bias]) for cell in players_cells(effect, request.controls)
    ]
    inputs = len(recurrent[0]["weights"][0])
    content = {
        "in_shape": [None, None, inputs],
        "layers": [*recurrent, _layer("dense", [effect.linear.weight.T, effect.linear.bias])],
        "in_skip": int(effect.residual),
        "in_gain": 0.0,
        "out_gain": 0.0,
        "samplerate": model.sample_rate,
        "metadata": _metadata(model),
    }
    path.write_text(json.dumps(content, allow_nan=False, ensure_ascii=False), "utf-8")


def check(model: Model, path: Path, request: Request) -> list[Check]:
    """Read the file again, and run it by the arithmetic of its layout."""
    content = json.loads(path.read_text("utf-8"))
    runtime = f"the RTNeural layout in numpy, {_aida_x(content)}"
    return [check_players(model, request, runtime, lambda x: play(content, x))]


def play(content: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """What a file's net makes of inputs (T, I), one after the other from states of zero: (T,).

    Raises:
        ValueError: it has a layer that is not read here.
    """
    h = x
    for layer in content["layers"]:
        weights = [np.array(w) for w in layer["weights"]]
        if layer["type"] == "lstm" and not layer["activation"]:
            h = run_cell(h, *weights)
        elif layer["type"] == "dense" and not layer["activation"]:
            h = h @ weights[0] + weights[1]
        else:
            raise ValueError(f"play: a layer {layer['type']} with activation {layer['activation']!r} is not known here")
    return h[:, 0] + (x[:, 0] if content["in_skip"] else 0)


def _layer(kind: str, weights: list[Tensor]) -> dict[str, Any]:
    """weights: of the input (I, outputs or 4 H) first, the bias last."""
    outputs = len(weights[1]) if kind == "lstm" else len(weights[-1])
    return {
        "type": kind,
        "activation": "",
        "shape": [None, None, outputs],
        "weights": [decimals(weight) for weight in weights],
    }


def _aida_x(content: dict[str, Any]) -> str:
    """Whether AIDA-X takes it, and if not, why."""
    (_, _, inputs), (first, *more) = content["in_shape"], content["layers"][:-1]
    size = first["shape"][-1]
    if more:
        return f"which AIDA-X cannot read: it has {1 + len(more)} layers"
    if size not in AIDA_X_SIZES:
        return f"which AIDA-X cannot read: it has {size} cells, and not one of {', '.join(map(str, AIDA_X_SIZES))}"
    if inputs > AIDA_X_INPUTS:
        return f"which AIDA-X cannot read: it has {inputs} inputs, and {AIDA_X_INPUTS} are the most"
    return "of a size that AIDA-X reads"


def _metadata(model: Model) -> dict[str, str]:
    facts = model.facts
    device = " ".join(filter(None, (facts.get("gear_make"), facts.get("gear_model"))))
    esr = facts.get("metrics", {}).get("esr")
    told = {
        "name": model.name,
        "samplerate": str(model.sample_rate),
        "style": facts.get("tone_type"),
        "based": device,
        "author": facts.get("author"),
        "license": facts.get("license"),
        "esr": None if esr is None else f"{esr:.6g}",
    }
    return {key: value for key, value in told.items() if value}
