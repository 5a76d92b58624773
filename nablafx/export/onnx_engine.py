"""Models in ONNX Runtime, block after block."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as failures
from torch import Tensor

from nablafx.effects import Effect
from nablafx.errors import UserError
from nablafx.export.exported import ExportEngine
from nablafx.export.onnx_graph import CONTROLS, NEXT, graph_of
from nablafx.export.stateful import Stateful

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
# what ONNX Runtime raises for a file that it cannot take; they have no base of their own
_REFUSALS = (
    *(failures.Fail, failures.InvalidArgument, failures.InvalidGraph, failures.InvalidProtobuf),
    *(failures.NoSuchFile, failures.NotImplemented, failures.RuntimeException),
)


class SessionEngine(ExportEngine):
    """Runs a graph on one thread. Its state lies in two sets of arrays that take turns; none of it is copied."""

    def __init__(self, session: onnxruntime.InferenceSession, frame_size: int, home: Tensor | None) -> None:
        inputs = {value.name: value for value in session.get_inputs()}
        length = inputs.pop("x").shape[-1]
        super().__init__(length if isinstance(length, int) else None, frame_size, home)
        self._session = session
        self._controls = np.zeros((0,) if home is None else tuple(home.shape), np.float32)
        knobs = inputs.pop(CONTROLS, None)
        self._states = [{name: np.zeros(v.shape, _TYPES[v.type]) for name, v in inputs.items()} for _ in range(2)]
        self._bindings = [session.io_binding() for _ in range(2)]
        for binding, before, after in zip(self._bindings, self._states, reversed(self._states), strict=True):
            if knobs:
                _bind(binding.bind_input, CONTROLS, self._controls)
            for name in inputs:
                _bind(binding.bind_input, name, before[name])
                _bind(binding.bind_output, NEXT + name, after[name])
        self._turn = 0
        self._make_room(self._size or frame_size)

    def clear(self) -> None:
        for state in self._states[self._turn].values():
            state.fill(0)

    def set(self, controls: Tensor) -> None:
        self._controls[:] = controls.numpy()

    def call(self, x: np.ndarray) -> np.ndarray:
        if len(x) != self._x.shape[-1]:
            self._make_room(len(x))
        self._x[0, 0] = x
        self._session.run_with_iobinding(self._bindings[self._turn])
        return self._y[0, 0]

    def advance(self) -> None:
        self._turn = 1 - self._turn

    def _make_room(self, length: int) -> None:
        self._x, self._y = (np.zeros((1, 1, length), np.float32) for _ in range(2))
        for binding in self._bindings:
            _bind(binding.bind_input, "x", self._x)
            _bind(binding.bind_output, "y", self._y)


class OnnxEngine(SessionEngine):
    """Runs an effect: `Streamer(effect, engine=OnnxEngine)`."""

    def __init__(self, effect: Effect, block_size: int | None = None) -> None:
        """
        Args:
            block_size: samples of a call; None: any number.

        Raises:
            ExportError: the effect cannot run block after block, or not in blocks of this size.
        """
        home = torch.full((1, effect.num_controls), 0.5) if effect.num_controls else None
        self._stateful = Stateful(effect, home, block_size)
        proto = onnx_ir.to_proto(graph_of(self._stateful, home, block_size))
        super().__init__(_session(proto.SerializeToString()), effect.frame_size, home)

    def settle(self, controls: Tensor) -> None:
        for name, state in self._stateful.silence(controls).items():
            self._states[self._turn][name][:] = state.numpy()


class OnnxFileEngine(SessionEngine):
    """Runs a file that `nablafx export` has written."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            UserError: there is no such file, or it is of another make.
        """
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        try:
            session = _session(path)
        except _REFUSALS as error:
            raise UserError(f"{path} is no ONNX file that ONNX Runtime can read: {error}") from error
        told = session.get_modelmeta().custom_metadata_map
        if "frame_size" not in told or "controls" not in told:
            raise UserError(f"{path} is an ONNX file, but of another make; `nablafx export --format onnx` writes those")
        controls = json.loads(told["controls"])
        super().__init__(session, int(told["frame_size"]), torch.tensor([controls]) if controls else None)


def _session(model: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def _bind(bind, name: str, array: np.ndarray) -> None:
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
