"""Rules of the controllers: what sets the parameters of a processor."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from nablafx.controllers import (
    Controller,
    DynamicCondController,
    DynamicController,
    QuadraticCondController,
    StaticCondController,
    StaticController,
)
from nablafx.export.engine.lowering import FOREVER
from nablafx.export.engine.recurrence import Listener
from nablafx.layers.held import Held


class Steering(Protocol):
    """What a rule makes of a controller.

    Attributes:
        block: samples that a value of u holds for.
        offset: samples of the first block that lie before the last run.
    """

    block: int
    offset: int

    def load(self, state: Any) -> None: ...

    def turn(self, controls: Tensor | None) -> Held | None:
        """The u that holds from now on; None: it follows the audio."""

    def hear(self, x: np.ndarray, dry: np.ndarray, length: int) -> Held | None:
        """u for the inputs (T, 1) of the stage and of the chain; None: as it was."""


@singledispatch
def lower_controller(controller: Controller, size: int) -> Steering:
    """What steers a processor, for pieces of up to `size` samples: the controller itself, where it has no rule."""
    return TorchSteering(controller)


class StaticSteering:
    """u changes with the knobs alone."""

    block, offset = FOREVER, 0

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def load(self, state: Any) -> None:
        """There is no state."""

    def turn(self, controls: Tensor | None) -> Held | None:
        return self._controller(torch.zeros(1, 1, 1), controls, ())[0]

    def hear(self, x: np.ndarray, dry: np.ndarray, length: int) -> Held | None:
        return None


class DynamicSteering:
    """A listener, and behind it what the controller makes of its units, in torch: once a block."""

    def __init__(self, controller: DynamicController, size: int) -> None:
        self._controller = controller
        self._listener = Listener(controller.listener, size, controller.num_controls, rectify=True)
        self._units = controller.listener.lstm.hidden_size
        self.block, self.offset = self._listener.block, 0
        self._moved = True

    def load(self, state: Any) -> None:
        self._listener.load(state)
        self._moved = True

    def turn(self, controls: Tensor | None) -> Held | None:
        self._listener.turn(controls if self._controller.num_controls else None)
        return None

    def hear(self, x: np.ndarray, dry: np.ndarray, length: int) -> Held | None:
        listener = self._listener
        listener.run(dry if self._controller.sidechain else x, length)
        self.offset = listener.offset
        # of the rows of before, the last one may still hold: as the first of these
        moved, self._moved = self._moved or listener.made, bool(listener.made)
        if not moved:
            return None
        h = torch.from_numpy(listener.rows[: listener.count, : self._units]).T.unsqueeze(0)
        return Held(torch.sigmoid(self._controller.readout(h)), self.block, self.offset)


class TorchSteering:
    """A controller as it is."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._state: Any = None
        self._controls: Tensor | None = None
        self.block, self.offset = FOREVER, 0

    def load(self, state: Any) -> None:
        self._state = state

    def turn(self, controls: Tensor | None) -> Held | None:
        self._controls = controls
        return None

    def hear(self, x: np.ndarray, dry: np.ndarray, length: int) -> Held | None:
        inputs = (torch.from_numpy(audio[:length].reshape(1, 1, -1)) for audio in (x, dry))
        u, self._state = self._controller(self._controller.hear(*inputs), self._controls, self._state)
        self.block, self.offset = u.block_size or FOREVER, u.offset
        return u


@lower_controller.register(StaticController)
@lower_controller.register(StaticCondController)
@lower_controller.register(QuadraticCondController)
def _(controller: Controller, size: int) -> Steering:
    return StaticSteering(controller)


@lower_controller.register(DynamicController)
@lower_controller.register(DynamicCondController)
def _(controller: DynamicController, size: int) -> Steering:
    return DynamicSteering(controller, size)
