"""A torch.export program (.pt2) with the state as input and output.

    import nablafx.export.operators          # registers the package's operators, and needs no model
    program = torch.export.load("model.pt2")
    (x, controls, state), _ = program.example_inputs      # silence
    y, state = program.module()(x, controls, state)

Its knobs are live. torch unpickles what it loads: load programs from those alone whom you trust.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nablafx.export.formats import Check, Request
from nablafx.export.model import Model
from nablafx.export.pieces import Pieces
from nablafx.export.stateful import FlatState, Stateful, notes
from nablafx.export.verify import verify

# of the largest samples beside each other; a sum in another order is all that differs
_LIMIT = 1e-9
_NOTES = "nablafx.json"


def write(model: Model, path: Path, request: Request) -> None:
    """Write the program, and beside it, as extra file nablafx.json, what a host has to know."""
    stateful = Stateful(model.effect, request.controls, request.block_size)
    program = trace(stateful, request.controls, request.block_size)
    torch.export.save(program, path, extra_files={_NOTES: json.dumps(notes(model, request))})


def check(model: Model, path: Path, request: Request) -> list[Check]:
    """Run the program from the file, block after block, against the model."""
    engine = ProgramEngine(path)
    return verify(model, engine, request, f"torch {torch.__version__}", _LIMIT)


def trace(stateful: Stateful, controls: Tensor | None, block_size: int | None) -> ExportedProgram:
    """The graph for calls of `block_size` samples; None: of any number."""
    state = stateful.silence(controls)
    # any number that is not one of the model's sizes
    x = torch.zeros(1, 1, block_size or 96)
    sizes = None
    if block_size is None:
        sizes = ({2: Dim("samples", min=1)}, None if controls is None else {}, {name: {} for name in state})
    with torch.no_grad(), warnings.catch_warnings():
        # of torch's own use of its names
        warnings.simplefilter("ignore", FutureWarning)
        return torch.export.export(stateful, (x, controls, state), dynamic_shapes=sizes)


class ProgramEngine(Pieces):
    """Runs a program from a file."""

    def __init__(self, path: Path) -> None:
        program = torch.export.load(path)
        (x, self._controls, state), _ = program.example_inputs  # type: ignore[misc]
        self._module = program.module()
        self._silence: FlatState = {name: torch.zeros_like(s) for name, s in state.items()}
        super().__init__(...)
