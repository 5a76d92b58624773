"""Ways to run an effect as a stream that `nablafx benchmark` holds beside each other: engines, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from nablafx.conditioning import FiLM, Unconditioned
from nablafx.effects import Effect
from nablafx.effects.stack import ConvBlock, ConvStack
from nablafx.export.engine import NoLoweringError, NumbaEngine
from nablafx.export.formats import ExportError
from nablafx.export.streamer import Engine, TorchEngine


class NoPathError(ValueError):
    """A way that an effect cannot go here; the message says why."""


class CompiledEngine(TorchEngine):
    """The effect with torch.compile, for blocks of one size. What has an LSTM is compiled around it."""

    def __init__(self, effect: Effect) -> None:
        super().__init__(effect)
        # for every size anew: what is compiled for any size is slower
        torch._dynamo.reset()
        self._step = torch.compile(effect, dynamic=False)
        self._compiling = 2  # the second step may see other strides

    @torch.no_grad()
    def run(self, x: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(x).view(1, 1, -1)
        if self._state is None:
            self._state = self._effect.resting(given, self._controls)
        with self._while_compiling():
            y, self._state = self._step(given, self._controls, self._state)
        return y.view(-1).numpy()

    @contextmanager
    def _while_compiling(self) -> Iterator[None]:
        if not self._compiling:
            yield
            return
        self._compiling -= 1
        try:
            # each layer around its LSTM is a graph of its own
            with torch._dynamo.config.patch(recompile_limit=64), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except TorchDynamoException as error:
            raise NoPathError(f"torch.compile fails: {str(error).strip().splitlines()[0]}") from error


class FramesEngine:
    """As published: each block with the receptive field before it, through a net that remembers nothing."""

    def __init__(self, effect: Effect) -> None:
        """
        Raises:
            NoPathError: the output depends on all that was.
        """
        if not isinstance(effect, ConvStack) or type(effect.conditioning) not in (Unconditioned, FiLM):
            raise NoPathError("its receptive field has no end: no frame holds it")
        self._effect = effect
        self._controls: Tensor | None = None

    def reset(self, controls: Tensor | None) -> None:
        self._controls = controls
        self._past = torch.zeros(1, 1, self._effect.receptive_field - 1)
        with torch.inference_mode():
            self._nothing = self._effect.resting(self._past[..., :1], controls)

    def turn(self, controls: Tensor | None) -> None:
        self._controls = controls

    @torch.inference_mode()
    def run(self, x: np.ndarray) -> np.ndarray:
        net, given = self._effect, torch.from_numpy(x).view(1, 1, -1)
        frame = torch.cat([self._past, given], dim=-1)
        self._past = frame[..., given.shape[-1] :]
        cond, _ = net.conditioning.encode(frame, self._controls, self._nothing["conditioning"])
        h = net.read_in(frame)
        for block, nothing in zip(net.stack, self._nothing["blocks"], strict=True):
            h = cast(ConvBlock, block).run_padded(h, cond, nothing)
        y, beside = net.read_out(h), net.beside(frame, h)
        if beside is not None:
            stop = beside.shape[-1] - net.delay.samples
            y = y + beside[..., stop - y.shape[-1] : stop]
        return net.output_activation(y).view(-1).numpy()


@lru_cache(maxsize=1)
def onnx_engine(effect: Effect, block_size: int | None = None) -> Engine:
    """What a file of the ONNX format does in ONNX Runtime, for blocks of one size or any (None).

    Raises:
        NoPathError: ONNX Runtime is not installed, or the format cannot express the effect.
    """
    try:
        engine: Any = import_module("nablafx.export.onnx_engine").OnnxEngine
        return engine(effect, block_size)
    except ImportError as error:
        raise NoPathError(f"ONNX Runtime is not here ({error})") from error
    except ExportError as error:
        raise NoPathError(str(error)) from error


class FixedOnnxEngine:
    """What the ONNX file for blocks of one size does, that of the first block."""

    def __init__(self, effect: Effect) -> None:
        self._effect = effect
        self._engine: Engine | None = None
        self._controls: Tensor | None = None

    def reset(self, controls: Tensor | None) -> None:
        self._engine, self._controls = None, controls

    def turn(self, controls: Tensor | None) -> None:
        self._controls = controls
        if self._engine is not None:
            self._engine.turn(controls)

    def run(self, x: np.ndarray) -> np.ndarray:
        if self._engine is None:
            self._engine = onnx_engine(self._effect, len(x))
            self._engine.reset(self._controls)
        return self._engine.run(x)


def numba_engine(effect: Effect) -> Engine:
    """The compiled engine; NoPathError where a part of the effect has no rule."""
    try:
        return NumbaEngine(effect)
    except NoLoweringError as error:
        raise NoPathError(str(error)) from error


PATHS: dict[str, Callable[[Effect], Engine]] = {
    "eager": TorchEngine,
    "compiled": CompiledEngine,
    "onnxruntime": onnx_engine,
    "onnxruntime-fixed": FixedOnnxEngine,
    "numba": numba_engine,
    "frames": FramesEngine,
}
"""By name: the effect as it is, with torch.compile, in ONNX Runtime by a file for blocks of any size and by one for the
size at hand, in compiled loops, and as published."""
