"""Writing a model as a .nam file, and hearing whether it is the model."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nablafx.export.decimals import decimals
from nablafx.export.formats import Check, Request, compare, in_turn
from nablafx.export.model import Model
from nablafx.export.nam import core
from nablafx.export.nam.encode import encode
from nablafx.export.nam.metadata import metadata
from nablafx.export.nam.parts import Document
from nablafx.export.nam.reader import read_nam
from nablafx.export.streamer import Streamer

VERSION = "0.7.0"
BLOCK_SIZES = (1, 7, 64, 480)
LIMIT = 1e-10
CORE_LIMIT = 1e-3
"""The Core's tanh is a fast one, up to 9e-4 beside it (|x| < 12), and a trained LSTM gathers what it misses: 1.2e-4 was
seen. With an exact one it would be LIMIT."""
CORE_NOISE = 1e-7
"""Power of a difference at -70 dBFS: where a model is quiet, the fast tanh alone is more than CORE_LIMIT of it."""


def write(model: Model, path: Path, request: Request) -> None:
    """Write the model with its knobs as the request has them.

    The Core of NAM plays all that is written. NAM's loader in Python, which its trainer uses, passes over two things
    without a word: `condition_dsp` (an LSTM behind which something follows), and the slopes of PReLU.

    Raises:
        ExportError: a part of the model has no form in .nam.
    """
    document = encode(model.effect, request.controls)
    content = _content(document, model.sample_rate)
    content["metadata"] = metadata(model, request, datetime.now())
    path.write_text(json.dumps(content, allow_nan=False, ensure_ascii=False), "utf-8")


def _content(document: Document, sample_rate: int) -> dict[str, Any]:
    config = document.config
    if document.condition is not None:
        config = {**config, "condition_dsp": _content(document.condition, sample_rate)}
    return {
        "version": VERSION,
        "architecture": document.architecture,
        "config": config,
        "weights": decimals(document.weights),
        "sample_rate": sample_rate,
    }


def check(model: Model, path: Path, request: Request) -> list[Check]:
    """Run the file in blocks with the reader of this package, and with NAM's Core where NABLAFX_NODE_MODULES is set.

    Raises:
        UserError: the variable leads to nothing that runs.
    """
    with torch.inference_mode():
        expected = model.effect(request.audio, request.controls)[0].flatten()
    audio, rate = request.audio.flatten().numpy(), model.sample_rate
    sizes = (request.block_size,) if request.block_size else BLOCK_SIZES
    told = f"blocks of {' and '.join(', '.join(map(str, sizes)).rsplit(', ', 1))}"
    streamer = Streamer(read_nam(path).effect)
    heard = torch.from_numpy(np.concatenate([streamer.process(block) for block in in_turn(audio, sizes)]))
    modules = core.node_modules()
    absent = "" if modules else f"; NAM's Core is not here to hear it ({core.VARIABLE} names no node_modules)"
    checks = [compare(f"nablafx reading the file, {told}{absent}", heard, expected, rate, LIMIT)]
    if modules:
        played, runtime = core.play(path, audio, rate, sizes, modules)
        limit = max(CORE_LIMIT, CORE_NOISE / max(float(expected.square().mean()), CORE_NOISE))
        checks.append(compare(f"{runtime}, {told}", torch.from_numpy(played), expected, rate, limit))
    return checks
