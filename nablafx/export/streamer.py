"""A model as an audio host runs it: block after block, of any sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nablafx.effects import Effect


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


class Streamer:
    """A mono stream through an effect: `y = streamer.process(x)` for blocks of 1 sample or more, in any order of sizes.

    The output is that of the whole signal at once, `latency` samples later: 0, or frame_size - 1 for an effect whose
    conditioning or controllers look ahead. The first `latency` samples are zeros, and `flush` returns the last ones.

        streamer = Streamer(model.effect, controls=[0.3, 0.5])
        wet = np.concatenate([*(streamer.process(block) for block in blocks), streamer.flush()])[streamer.latency:]

    Attributes:
        latency: in samples.
    """

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
        if effect.cold_start and effect.frame_size > 2**32:
            raise ValueError(
                f"{type(effect).__name__} with cold_start takes a sequence as a whole and cannot be streamed; build it "
                "with cold_start: false"
            )
        self._effect = effect.eval()
        self._frame = effect.frame_size
        self.latency = self._frame - 1
        self._engine = (engine or TorchEngine)(effect)  # type: ignore[call-arg]
        self._controls = self._checked(controls)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: silence for ever, with the knobs as they stand."""
        self._engine.reset(self._controls)
        self._waiting = np.zeros(0, np.float32)
        self._ready = np.zeros(self.latency, np.float32)

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
        heard = np.concatenate([self._waiting, x])
        whole = len(heard) // self._frame * self._frame
        self._waiting = heard[whole:]
        made = [self._engine.run(heard[:whole])] if whole else []
        ready = np.concatenate([self._ready, *made])
        self._ready = ready[len(x) :]
        return ready[: len(x)]

    def flush(self) -> np.ndarray:
        """The last `latency` samples of the stream, which ends here: `reset` begins another."""
        rest = [self._engine.run(self._waiting)] if len(self._waiting) else []
        last = np.concatenate([self._ready, *rest])
        self._waiting = self._ready = np.zeros(0, np.float32)
        return last

    def _checked(self, controls: Sequence[float] | None) -> Tensor | None:
        count = self._effect.num_controls
        given = 0 if controls is None else len(controls)
        if given != count:
            raise ValueError(f"Streamer: the effect has {count} controls, and {given} were given")
        return torch.tensor([list(controls)], dtype=torch.float32) if controls is not None and count else None
