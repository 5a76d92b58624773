"""What the files with state have in common: what they tell a host, how they are run, and how they are checked."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx.export.formats import Check, Request, compare, in_turn
from nablafx.export.model import Model

# sums in another order: most differ by less than -120 dB, those of a filter that float32 itself leaves uncertain by -85
_LIMIT = 1e-8
# in frames, the calls that a file for any number is checked with
_CALLS = (1, 7, 64, 480, 3)
# how far knobs are turned halfway through a check
_TURN = 0.37
# silence that a file is given whose knobs are not where they were at the export
_SETTLING_SAMPLES = 48_000
_PIECE = 4096
_USAGE = (
    "Each output next.NAME is the input NAME of the next call. All state begins with zeros: silence, with the controls "
    "as they are given here; with others, let some silence pass first. A call takes block_size samples, or where that "
    "is null any multiple of frame_size."
)


def notes(model: Model, request: Request) -> dict[str, Any]:
    """What a host has to know of an export."""
    return {
        "nablafx": version("nablafx"),
        "name": model.name,
        "sample_rate": model.sample_rate,
        "latency": model.latency,
        "frame_size": model.effect.frame_size,
        "block_size": request.block_size,
        "control_names": list(model.control_names),
        "controls": [] if request.controls is None else request.controls.flatten().tolist(),
        "facts": model.facts,
        "usage": _USAGE,
    }


class ExportEngine:
    """Runs a graph that takes and returns its state; keeps the protocol of :class:`nablafx.export.streamer.Engine`.

    A graph for one block size runs pieces of any other, too: samples that do not fill a block are run with zeros behind
    them, and once more with those that follow. That costs time, and no latency. Knobs move between its blocks. Of a
    model that looks ahead, the last frame of a stream hears zeros behind it.

    Subclasses write `clear`, `set`, `call` and `advance`.
    """

    def __init__(self, block_size: int | None, frame_size: int, home: Tensor | None) -> None:
        """
        Args:
            block_size: samples of a call; None: any multiple of frame_size.
            home: (1, P), the knobs of the silence that a state of zeros stands for.
        """
        self._size = block_size
        self._frame = frame_size
        self._home = home
        self._waiting = np.zeros(0, np.float32)

    def run(self, x: np.ndarray) -> np.ndarray:
        if self._size is None or (len(x) == self._size and not len(self._waiting)):
            y = self.call(x)
            self.advance()
            return y
        outputs = []
        while len(x):
            known = len(self._waiting)
            heard = np.concatenate([self._waiting, x[: self._size - known]])
            outputs.append(self.call(np.pad(heard, (0, self._size - len(heard))))[known : len(heard)].copy())
            x = x[len(heard) - known :]
            whole = len(heard) == self._size
            if whole:
                self.advance()
            self._waiting = heard[:0] if whole else heard
        return np.concatenate(outputs)

    def reset(self, controls: Tensor | None) -> None:
        self._waiting = np.zeros(0, np.float32)
        self.clear()
        self.turn(controls)
        if controls is not None and not torch.equal(controls, self._home):  # type: ignore[arg-type]
            self.settle(controls)

    def turn(self, controls: Tensor | None) -> None:
        if controls is not None:
            self.set(controls)

    def settle(self, controls: Tensor) -> None:
        """Take up what silence leaves with these knobs (1, P), from a state of zeros."""
        size = self._size or max(1, _PIECE // self._frame) * self._frame
        for _ in range(-(-_SETTLING_SAMPLES // size)):
            self.call(np.zeros(size, np.float32))
            self.advance()

    def clear(self) -> None:
        """Begin with a state of zeros."""
        raise NotImplementedError

    def set(self, controls: Tensor) -> None:
        """Take knobs (1, P)."""
        raise NotImplementedError

    def call(self, x: np.ndarray) -> np.ndarray:
        """x (T,) -> y (T,), which may change with the next call. The state stays as it is."""
        raise NotImplementedError

    def advance(self) -> None:
        """Go on to the state after the last call."""
        raise NotImplementedError


def check_stream(model: Model, engine: ExportEngine, request: Request, runtime: str) -> Check:
    """The audio in calls through the engine, its knobs turned halfway, beside the effect on both halves as they are."""
    unit = request.block_size or model.effect.frame_size
    calls = [size * unit for size in ([1] if request.block_size else _CALLS)]
    whole = request.audio.shape[-1] // unit
    if whole < 2:
        raise ValueError(
            f"{request.audio.shape[-1]} samples are not the two blocks of {unit} that an export is checked with; give "
            "more audio, or a smaller block size"
        )
    halves = request.audio[..., : whole * unit].split([whole // 2 * unit, (whole - whole // 2) * unit], dim=-1)
    knobs, state, expected, heard = request.controls, None, [], []
    engine.reset(knobs)
    for half in halves:
        with torch.inference_mode():
            y, state = model.effect(half, knobs, state)
        expected.append(y.flatten())
        heard += [torch.from_numpy(engine.run(x).copy()) for x in in_turn(half.flatten().numpy(), calls)]
        knobs = None if knobs is None else (knobs + _TURN) % 1
        engine.turn(knobs)
    how = f"{runtime}, blocks of {', '.join(map(str, calls))}"
    return compare(how, torch.cat(heard), torch.cat(expected), model.sample_rate, _LIMIT)
