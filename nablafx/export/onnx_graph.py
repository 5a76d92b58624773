"""An effect as an ONNX graph whose state goes in and comes out."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes import common
from onnxscript import optimizer
from torch import Tensor

from nablafx.export import onnx_operators
from nablafx.export.program import trace
from nablafx.export.stateful import Stateful

CONTROLS, NEXT = "controls", "next."
# what every runtime of the last years reads, and the least that torch writes
OPSET = 18


def graph_of(stateful: Stateful, controls: Tensor | None, block_size: int | None) -> ir.Model:
    """Inputs x (1, 1, T), controls (1, P) where there are knobs, and the state by names; outputs y and next.NAME."""
    state = list(stateful.silence(controls))
    knobs = [] if controls is None else [CONTROLS]
    with _quiet():
        program = torch.onnx.export(
            trace(stateful, controls, block_size),
            dynamo=True,
            opset_version=OPSET,
            # what torch would do takes 1e-12 for 0, and leaves it away
            optimize=False,
            input_names=["x", *knobs, *state],
            output_names=["y", *(NEXT + name for name in state)],
            custom_translation_table=onnx_operators.table(),
            verbose=False,
        )
        assert program is not None
        return _tidied(program.model, block_size)


def describe(model: ir.Model, notes: dict[str, Any]) -> None:
    """Put notes into the file, each as JSON."""
    model.metadata_props.clear()
    model.metadata_props.update({name: json.dumps(note) for name, note in notes.items()})


def _tidied(model: ir.Model, block_size: int | None) -> ir.Model:
    """Functions inlined, constants folded, nothing twice, no trace of the machine that made it, and its own names."""
    common.InlinePass()(model)
    optimizer.fold_constants(model)
    passes = ir.passes.Sequential(
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.ClearMetadataAndDocStringPass(),
    )
    model = passes(model).model
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    if block_size is None:
        for value in (model.graph.inputs[0], model.graph.outputs[0]):
            value.shape = ir.Shape([1, 1, "samples"])
    model.producer_name = "nablafx"
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what exporters say of themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
