"""A torch.export program (.pt2) with the state as input and output, and live knobs.

    import nablafx.export.operators          # the package's operators; the classes of its models are not needed
    program = torch.export.load("model.pt2")
    (x, controls, state), _ = program.example_inputs      # silence
    y, state = program.module()(x, controls, state)

torch unpickles what it loads: load programs from those alone whom you trust.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nablafx.export.exported import ExportEngine, check_stream, notes
from nablafx.export.formats import Check, Request
from nablafx.export.model import Model
from nablafx.export.stateful import FlatState, Stateful

# the extra file in the archive that has the notes
NOTES = "nablafx.json"
# samples of a traced call where any number will do: none that a layer has as a size of its own
_TRACED = 96


def write(model: Model, path: Path, request: Request) -> None:
    """Write the program, with what a host has to know as the extra file nablafx.json.

    Raises:
        ExportError: the model cannot run block after block, or not in blocks of this size.
    """
    program = trace(Stateful(model.effect, request.controls, request.block_size), request.controls, request.block_size)
    torch.export.save(program, path, extra_files={NOTES: json.dumps(notes(model, request))})


def check(model: Model, path: Path, request: Request) -> list[Check]:
    """Load the program and run it, block after block."""
    engine = ProgramEngine(path)
    return [check_stream(model, engine, request, f"torch {torch.__version__}")]


def trace(stateful: Stateful, controls: Tensor | None, block_size: int | None) -> ExportedProgram:
    """The program for calls of `block_size` samples; None: of any number."""
    state = stateful.silence(controls)
    sizes: Any = None
    if block_size is None:
        sizes = ({2: Dim("samples", min=1)}, None if controls is None else {}, {name: {} for name in state})
    given = (torch.zeros(1, 1, block_size or _TRACED), controls, state)
    with torch.no_grad(), warnings.catch_warnings():
        # torch's, of itself
        warnings.simplefilter("ignore", FutureWarning)
        return torch.export.export(stateful, given, dynamic_shapes=sizes)


class ProgramEngine(ExportEngine):
    """Runs a program from a file."""

    def __init__(self, path: Path) -> None:
        extra = {NOTES: ""}
        with warnings.catch_warnings():
            # torch's, of itself
            warnings.simplefilter("ignore")
            program = torch.export.load(path, extra_files=extra)
        told = json.loads(extra[NOTES])
        (_, self._controls, self._silence), _ = program.example_inputs
        super().__init__(told["block_size"], told["frame_size"], self._controls)
        self._module = program.module()
        self.clear()

    def clear(self) -> None:
        self._state: FlatState = self._silence
        self._after = self._state

    def set(self, controls: Tensor) -> None:
        self._controls = controls

    @torch.inference_mode()
    def call(self, x: np.ndarray) -> np.ndarray:
        y, self._after = self._module(torch.from_numpy(x).view(1, 1, -1), self._controls, self._state)
        return y.flatten().numpy()

    def advance(self) -> None:
        self._state = self._after
