"""LSTMs for players that know no more than cells and a read-out."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nablafx.conditioning import FiLM, FixedConditioning, Unconditioned
from nablafx.effects import GCN, LSTM, TCN, Effect
from nablafx.export.formats import Check, ExportError, Request, compare
from nablafx.export.model import Model
from nablafx.layers.recurrent import Recurrent

LIMIT = 1e-10
CHECKED_S = 3  # of audio: what runs it is no fast player


class Cell(NamedTuple):
    """Weights of a layer, gates in the order i, f, g, o: of its input (4 H, I), of its output (4 H, H), bias (4 H)."""

    w_ih: Tensor
    w_hh: Tensor
    bias: Tensor


def cells(lstm: Recurrent, constant: Tensor | None = None) -> list[Cell]:
    """The layers of an LSTM whose last inputs are `constant` (F,): they become part of the first layer's bias."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    made = []
    for n in range(lstm.num_layers):
        w_ih, w_hh, b_ih, b_hh = (getattr(lstm, f"{name}_l{n}") for name in names)
        made.append(Cell(w_ih, w_hh, b_ih + b_hh))
    if constant is not None:
        w_ih, w_hh, bias = made[0]
        made[0] = Cell(w_ih[:, : -len(constant)], w_hh, bias + w_ih[:, -len(constant) :] @ constant)
    return made


def plain(effect: Effect, layout: str) -> LSTM:
    """A copy of the effect, in float64, if it is y = Linear(LSTM(x ⊕ constants)), with x added or not.

    Raises:
        ExportError: it is another, which `layout` cannot express.
    """
    kind = type(effect).__name__
    if not isinstance(effect, LSTM):
        other = "nam or onnx" if isinstance(effect, TCN | GCN) else "onnx"
        raise ExportError(f"{kind} cannot be expressed in {layout}, which holds LSTMs; --format {other} can")
    if not isinstance(effect.conditioning, Unconditioned | FixedConditioning | FiLM):
        part, cure = f"{type(effect.conditioning).__name__}, which changes with the audio,", "--format onnx can"
    elif effect.direct_gain is not None:
        part, cure = "direct_path", "--format nam or onnx can"
    elif not isinstance(effect.output_activation, nn.Identity):
        part = "output_activation: tanh"
        cure = "its players bend nothing at the end; train it with output_activation: none, or --format nam or onnx can"
    else:
        return deepcopy(effect).cpu().double().eval()
    raise ExportError(f"{kind} with {part} cannot be expressed in {layout}; {cure}")


@torch.no_grad()
def players_cells(effect: LSTM, controls: Tensor | None) -> list[Cell]:
    """The layers of a plain LSTM: knobs (1, P) that are appended stay inputs, what FiLM makes of them is constant."""
    if not isinstance(effect.conditioning, FiLM):
        return cells(effect.lstm)
    assert controls is not None
    made, _ = effect.conditioning.encode(torch.zeros(1, 1, 1), controls.cpu().double(), ())
    return cells(effect.lstm, made.values.flatten())


def check(model: Model, request: Request, runtime: str, play: Callable[[np.ndarray], np.ndarray]) -> Check:
    """Compare what `play` makes of inputs (T, I) with the model, both from states of zero, where players begin."""
    audio = request.audio[..., : CHECKED_S * model.sample_rate]
    with torch.inference_mode():
        zero = pytree.tree_map(torch.zeros_like, model.effect.resting(audio, request.controls))
        expected, _ = model.effect(audio, request.controls, zero)
    inputs = audio.reshape(-1, 1)
    if isinstance(model.effect.conditioning, FixedConditioning):
        assert request.controls is not None
        inputs = torch.cat([inputs, request.controls.expand(len(inputs), -1)], dim=1)
    heard = torch.from_numpy(play(inputs.double().cpu().numpy()))
    return compare(runtime, heard, expected.flatten(), model.sample_rate, LIMIT)


def run_cell(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Outputs (T, H) of an LSTM layer that begins in zeros, for inputs (T, I).

    i, f, g, o = x kernel + h recurrent + bias;  c <- σ(f) c + σ(i) tanh(g);  h <- σ(o) tanh(c).

    kernel: (I, 4 H). recurrent: (H, 4 H). bias: (4 H,).
    """
    size = len(recurrent)
    h, c = np.zeros(size), np.zeros(size)
    drive, out = x @ kernel + bias, np.empty((len(x), size))
    for n, row in enumerate(drive):
        gates = row + h @ recurrent
        # σ(z) = (1 + tanh(z / 2)) / 2, which does not overflow
        i, f, o = (0.5 + 0.5 * np.tanh(0.5 * gates[k * size : (k + 1) * size]) for k in (0, 1, 3))
        c = f * c + i * np.tanh(gates[2 * size : 3 * size])
        h = out[n] = o * np.tanh(c)
    return out
