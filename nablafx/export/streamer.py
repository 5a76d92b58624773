"""A model as an audio host runs it: block after block, of any sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nablafx.effects import Effect
from nablafx.effects.base import WHOLE
from nablafx.export.engine import NoLoweringError, NumbaEngine

# samples of the longest block that there is room for at first
_BLOCK = 1024


class Engine(Protocol):
    """What runs the model beneath a stream, and owns its state.

    `run` gets (T,) float32, T a multiple of the effect's frame_size but for the last piece of a stream, and returns as
    many samples; the array may be its own and change with the next call.
    """

    def run(self, x: np.ndarray) -> np.ndarray: ...

    def reset(self, controls: Tensor | None) -> None:
        """Start anew, as if it had heard silence for ever with these knobs (1, P)."""

    def turn(self, controls: Tensor | None) -> None:
        """Go on with other knobs (1, P)."""


class TorchEngine:
    """The effect itself."""

    def __init__(self, effect: Effect) -> None:
        self._effect = effect
        self._state = None
        self._controls: Tensor | None = None

    def reset(self, controls: Tensor | None) -> None:
        self._state = None
        self._controls = controls

    def turn(self, controls: Tensor | None) -> None:
        self._controls = controls

    @torch.inference_mode()
    def run(self, x: np.ndarray) -> np.ndarray:
        y, self._state = self._effect(torch.from_numpy(x).view(1, 1, -1), self._controls, self._state)
        return y.view(-1).numpy()


def fastest_engine(effect: Effect) -> Engine:
    """What runs an effect fastest: compiled loops, or itself where a part of it has none."""
    try:
        return NumbaEngine(effect)
    except NoLoweringError:
        return TorchEngine(effect)


class Streamer:
    """A mono stream through an effect: `y = streamer.process(x)` for blocks of 1 sample or more, in any order of sizes.

    The output is that of the whole signal at once, `latency` samples later: 0, or frame_size - 1 for an effect whose
    conditioning or controllers look ahead. The first `latency` samples are zeros, and `flush` returns the last ones.

        streamer = Streamer(model.effect, controls=[0.3, 0.5])
        wet = np.concatenate([*(streamer.process(block) for block in blocks), streamer.flush()])[streamer.latency:]

    Attributes:
        latency: in samples.
    """

    _waiting: int
    _ready: int

    def __init__(
        self, effect: Effect, controls: Sequence[float] | None = None, engine: type[Engine] | None = None
    ) -> None:
        """
        Args:
            effect: it is run in evaluation mode, on the CPU; its weights are not to change meanwhile.
            controls: knobs (P,) in [0, 1]; None for an effect without.
            engine: what runs it, made of the effect; None: the fastest there is.

        Raises:
            ValueError: controls of another number, or an effect that takes a sequence as a whole.
        """
        if effect.frame_size == WHOLE:
            raise ValueError(
                f"{type(effect).__name__} with cold_start takes a sequence as a whole and cannot be streamed; build it "
                "with cold_start: false"
            )
        self._effect = effect.eval()
        self._frame = effect.frame_size
        self.latency = self._frame - 1
        self._engine: Engine = (engine or fastest_engine)(effect)  # type: ignore[call-arg]
        self._controls = self._checked(controls)
        self._heard, self._made = (np.zeros(self.latency + _BLOCK, np.float32) for _ in range(2))
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: silence for ever, with the knobs as they stand."""
        self._engine.reset(self._controls)
        self._begin()

    def turn(self, controls: Sequence[float]) -> None:
        """Set the knobs (P,) in [0, 1]; what is heard from the next block on, the model goes on from where it is."""
        self._controls = self._checked(controls)
        self._engine.turn(self._controls)

    def process(self, x: np.ndarray) -> np.ndarray:
        """Samples x (n,), full scale 1 -> as many samples, float32.

        Raises:
            ValueError: x is no mono block.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 1:
            raise ValueError(f"Streamer: a block must be mono, of shape (n,), got {x.shape}")
        if self._frame == 1:
            return self._engine.run(x).copy() if len(x) else x
        self._make_room(len(x))
        stop = self._waiting + len(x)
        self._heard[self._waiting : stop] = x
        whole = stop // self._frame * self._frame
        self._run(whole)
        self._waiting = stop - whole
        self._heard[: self._waiting] = self._heard[whole:stop]
        return self._take(len(x))

    def flush(self) -> np.ndarray:
        """The last `latency` samples of the stream, which ends here: `reset` begins another."""
        self._run(self._waiting)
        last = self._take(self._ready)
        self._begin()
        return last

    def _begin(self) -> None:
        # samples that wait in `heard` for their frame to be whole, and samples in `made` that wait to leave
        self._waiting, self._ready = 0, self.latency
        self._made[: self.latency] = 0

    def _run(self, length: int) -> None:
        """The first samples that were heard, to where those end that were made."""
        if length:
            self._made[self._ready : self._ready + length] = self._engine.run(self._heard[:length])
            self._ready += length

    def _take(self, length: int) -> np.ndarray:
        """The first samples that were made, which are gone then."""
        taken = self._made[:length].copy()
        self._ready -= length
        self._made[: self._ready] = self._made[length : length + self._ready]
        return taken

    def _make_room(self, length: int) -> None:
        """For a block longer than any before."""
        needed = self.latency + length
        if needed > len(self._heard):
            self._heard = np.concatenate([self._heard[: self._waiting], np.zeros(needed - self._waiting, np.float32)])
            self._made = np.concatenate([self._made[: self._ready], np.zeros(needed - self._ready, np.float32)])

    def _checked(self, controls: Sequence[float] | None) -> Tensor | None:
        count = self._effect.num_controls
        given = 0 if controls is None else len(controls)
        if given != count:
            raise ValueError(f"Streamer: the effect has {count} controls, and {given} were given")
        return torch.tensor([list(controls)], dtype=torch.float32) if controls is not None and count else None
