"""LSTMs for players, and real audio for them."""

from __future__ import annotations

import numpy as np
import soundfile
import torch

from nablafx.effects import LSTM
from nablafx.export.formats import Request
from nablafx.export.model import Model
from tests.conftest import ROOT

RATE = 48_000
KNOBS = (0.3, 0.8)


def model_of(rate: int = RATE, **arguments) -> Model:
    torch.manual_seed(0)
    effect = LSTM(**{"output_activation": "none", "hidden_size": 8, **arguments}).eval()
    return Model(effect, rate, ("D", "T", "V")[: effect.num_controls], "Green drive", {}, {})


def request_of(model: Model, frames: int = 3000) -> Request:
    # the file begins with silence
    path = ROOT / "demo/DRY/test/t-eguitar.input.flac"
    audio, _ = soundfile.read(path, dtype="float32", start=RATE, frames=frames)
    knobs = torch.tensor([[*KNOBS, 0.1][: model.effect.num_controls]]) if model.effect.num_controls else None
    return Request(knobs, None, torch.from_numpy(audio).view(1, 1, -1))


def inputs_of(request: Request, knobs: bool) -> np.ndarray:
    """What a player feeds the net with, (T, I): the audio, and its knobs where it has them."""
    audio = request.audio.flatten().double().numpy()
    columns = [audio, *(np.full_like(audio, v) for v in (KNOBS if knobs else ()))]
    return np.stack(columns, axis=1)


def expected(model: Model, request: Request) -> np.ndarray:
    """What the model makes of it after silence for ever: (T,)."""
    with torch.no_grad():
        return model.effect(request.audio, request.controls)[0].flatten().double().numpy()


def behind_silence(inputs: np.ndarray, silence: int = 6000) -> np.ndarray:
    """The same inputs (T, I) after silence, in which a player that begins in zeros settles."""
    first = inputs[:1].copy()
    first[:, 0] = 0
    return np.concatenate([first.repeat(silence, axis=0), inputs])


def esr(heard: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.square(heard - wanted).sum() / np.square(wanted).sum())
