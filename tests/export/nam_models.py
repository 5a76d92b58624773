"""Small models as after training, real audio, and what they make of it: for tests of .nam files."""

from __future__ import annotations

from functools import partial

import numpy as np
import soundfile
import torch

from nablafx.conditioning import FiLM, FixedConditioning
from nablafx.effects import GCN, LSTM, TCN, Effect
from nablafx.export.formats import Request
from nablafx.export.model import Model
from nablafx.layers.running_norm import RunningNorm
from tests.conftest import ROOT

RATE = 48_000
KNOBS = torch.tensor([[0.3, 0.8]])
SMALL = {"num_blocks": 3, "kernel_size": 3, "channel_width": 4}
CASES = {
    "tcn": partial(TCN, **SMALL),
    "tcn-prelu": partial(TCN, act_type="prelu", **SMALL),
    "tcn-film": partial(TCN, 2, conditioning=FiLM, **SMALL),
    "tcn-film-prelu": partial(TCN, 2, conditioning=FiLM, act_type="prelu", output_activation="none", **SMALL),
    "tcn-direct": partial(TCN, direct_path=True, **SMALL),
    "tcn-growing": partial(TCN, num_blocks=3, channel_width=2, channel_growth=2),
    "tcn-narrow": partial(TCN, num_blocks=2, channel_width=1),
    "gcn": partial(GCN, **SMALL),
    "gcn-film": partial(GCN, 2, conditioning=FiLM, **SMALL),
    "gcn-direct": partial(GCN, direct_path=True, output_activation="tanh", **SMALL),
    "gcn-growing": partial(GCN, num_blocks=3, channel_width=2, channel_growth=2, direct_path=True),
    "lstm": partial(LSTM, hidden_size=8),
    "lstm-plain": partial(LSTM, hidden_size=8, num_layers=2, residual=False, output_activation="none"),
    "lstm-residual": partial(LSTM, hidden_size=8, output_activation="none"),
    "lstm-bent": partial(LSTM, hidden_size=8, residual=False),
    "lstm-direct": partial(LSTM, hidden_size=8, direct_path=True),
    "lstm-direct-only": partial(LSTM, hidden_size=8, direct_path=True, residual=False, output_activation="none"),
    "lstm-fixed": partial(LSTM, 2, hidden_size=8, conditioning=FixedConditioning),
    "lstm-film": partial(LSTM, 2, hidden_size=8, conditioning=FiLM, residual=False, output_activation="none"),
}
# NAM's loader in Python knows no slopes of PReLU, and no LSTM behind which something follows
LOADED = [n for n in CASES if "prelu" not in n and (not n.startswith("lstm") or n in ("lstm-plain", "lstm-film"))]


def trained(make) -> Effect:
    """As after training: what begins at a round number is no longer there."""
    torch.manual_seed(0)
    effect = make()
    for module in effect.modules():
        if isinstance(module, RunningNorm):
            module.mean.normal_(0, 0.3)
            module.var.uniform_(0.2, 2)
        if isinstance(module, torch.nn.PReLU):
            module.weight.data.uniform_(0, 0.6)
    if effect.direct_gain is not None:
        effect.direct_gain.data.fill_(0.7)
    return effect.eval()


def model_of(effect: Effect, **facts) -> Model:
    return Model(effect, RATE, ("D", "T")[: effect.num_controls], "Green drive", {}, facts)


def request_of(effect: Effect, seconds: float = 0.25, block_size: int | None = None) -> Request:
    # the file begins with silence
    path, frames = ROOT / "demo/DRY/test/t-eguitar.input.flac", round(seconds * RATE)
    audio, _ = soundfile.read(path, dtype="float32", start=RATE, frames=frames)
    return Request(KNOBS if effect.num_controls else None, block_size, torch.from_numpy(audio).view(1, 1, -1))


def expected(model: Model, request: Request) -> np.ndarray:
    with torch.no_grad():
        return model.effect(request.audio, request.controls)[0].flatten().numpy()


def esr(heard: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.square(heard.astype("f8") - wanted).sum() / np.square(wanted.astype("f8")).sum())
