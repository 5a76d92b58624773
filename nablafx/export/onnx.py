"""ONNX with the state as inputs and outputs, and live knobs.

Inputs are `x` (1, 1, T) and `controls` (1, P), where the model has knobs, then every tensor of the state by its name;
outputs `y` (1, 1, T), and the state as `next.<name>`. A host feeds the latter back, and begins with zeros. All has the
shape that the file says, T alone may be any number: so no history is computed twice. What else a host has to know are
the file's metadata: see :func:`nablafx.export.exported.notes`.

For S4 and filters, a file for one block size runs up to four times as fast as one for any.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir
import onnxruntime

from nablafx.export.exported import check_stream, notes
from nablafx.export.formats import Check, Request
from nablafx.export.model import Model
from nablafx.export.onnx_engine import OnnxFileEngine
from nablafx.export.onnx_graph import describe, graph_of
from nablafx.export.stateful import Stateful


def write(model: Model, path: Path, request: Request) -> None:
    """Write the graph.

    Raises:
        ExportError: the model cannot run block after block, or not in blocks of this size.
    """
    stateful = Stateful(model.effect, request.controls, request.block_size)
    graph = graph_of(stateful, request.controls, request.block_size)
    describe(graph, notes(model, request))
    onnx_ir.save(graph, path)


def check(model: Model, path: Path, request: Request) -> list[Check]:
    """Run the file in ONNX Runtime."""
    engine = OnnxFileEngine(path)
    return [check_stream(model, engine, request, f"onnxruntime {onnxruntime.__version__}")]
