"""The formats that a model can be exported to, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from nablafx.errors import UserError
from nablafx.export.model import Model


class ExportError(UserError):
    """A model that a format cannot express, or an export that does not sound as the model."""


class Request(NamedTuple):
    """What an export is made for.

    Attributes:
        controls: (1, P), the knobs of formats that have none, and where those of others stand at first; None for an
            effect without.
        block_size: samples of each call that the file is made for; None: any number of them.
        audio: (1, 1, T) at the model's sample rate, what it is checked with.
    """

    controls: Tensor | None
    block_size: int | None
    audio: Tensor


class Check(NamedTuple):
    """How an export compares with the model.

    Attributes:
        runtime: what ran the file, with its version, and how: "onnxruntime 1.23.2, blocks of 64 and 1".
        seconds: of audio.
        difference: the largest one of a sample.
        esr: energy of the difference over that of the model's output.
        limit: the ESR from which on the export is refused.
    """

    runtime: str
    seconds: float
    difference: float
    esr: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the file may be handed out; NaN does not pass."""
        return self.esr <= self.limit


class Format(Protocol):
    """What the module of a format has."""

    def write(self, model: Model, path: Path, request: Request) -> None:
        """Write the file; ExportError where the format cannot express the model."""

    def check(self, model: Model, path: Path, request: Request) -> list[Check]:
        """Run the file, and compare."""


class Entry(NamedTuple):
    """A format by its module, the suffix of its files, and what they are for."""

    module: str
    suffix: str
    summary: str


FORMATS = {
    "bundle": Entry("nablafx.export.bundle", ".nablafx", "one file that nablafx itself loads"),
    "nam": Entry("nablafx.export.nam", ".nam", "Neural Amp Modeler's players; knobs as they stand"),
    "onnx": Entry("nablafx.export.onnx", ".onnx", "ONNX Runtime, with the state as inputs and outputs"),
    "rtneural": Entry("nablafx.export.rtneural", ".json", "RTNeural and AIDA-X; LSTM"),
    "proteus": Entry("nablafx.export.proteus", ".json", "Proteus and NeuralPi; LSTM-40"),
    "torch": Entry("nablafx.export.program", ".pt2", "a torch.export program, with the state as inputs and outputs"),
}


def load_format(name: str) -> Format:
    """The module of a format, imported when it is first used.

    Raises:
        UserError: a library that it needs is not installed.
    """
    try:
        return cast(Format, import_module(FORMATS[name].module))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nablafx"):
            raise
        raise UserError(f"{name} needs {error.name}, which is not installed: pip install 'nablafx[{name}]'") from error


def in_turn(audio: np.ndarray, sizes: Sequence[int]) -> Iterator[np.ndarray]:
    """Cut audio (T,) into pieces of these sizes in turn."""
    start = 0
    for size in cycle(sizes):
        if start >= len(audio):
            return
        yield audio[start : start + size]
        start += size


def compare(runtime: str, heard: Tensor, expected: Tensor, sample_rate: int, limit: float) -> Check:
    """What `heard` (…, T) is beside the model's output `expected` of the same shape."""
    error, expected = heard.double() - expected.double(), expected.double()
    esr = error.square().sum() / expected.square().sum().clamp_min(torch.finfo(torch.float64).tiny)
    return Check(runtime, expected.shape[-1] / sample_rate, float(error.abs().max()), float(esr), limit)
