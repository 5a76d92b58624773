"""The rule of the gray box."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx.effects import GrayBox
from nablafx.effects.gray_box import Link
from nablafx.export.engine.controllers import Steering, lower_controller
from nablafx.export.engine.lowering import FOREVER, Plan, lower_effect, rule_for
from nablafx.export.engine.processing import Processing
from nablafx.export.engine.processors import lower_processor


class Stage:
    """A processor and what steers it."""

    def __init__(self, link: Link, size: int) -> None:
        self._processor = link.processor
        self._processing: Processing = rule_for(lower_processor, link.processor)(link.processor, size)
        self._steering: Steering | None = None
        if link.controller:
            self._steering = rule_for(lower_controller, link.controller)(link.controller, size)

    def turn(self, controls: Tensor | None) -> None:
        u = self._steering.turn(controls) if self._steering else None
        if u is not None or self._steering is None:
            self._processing.steer(self._processor.denormalise(u))

    def load(self, state: Any) -> None:
        if self._steering:
            self._steering.load(state["controller"])
        self._processing.load(state["processor"])

    def run(self, audio: np.ndarray, dry: np.ndarray, length: int) -> None:
        """Change audio (size, 1) in place."""
        block, offset = FOREVER, 0
        if self._steering:
            u = self._steering.hear(audio, dry, length)
            block, offset = self._steering.block, self._steering.offset
            if u is not None:
                self._processing.steer(self._processor.denormalise(u))
        self._processing.run(audio[:, 0], dry[:, 0], length, block, offset)


class ChainPlan:
    """Stages, each of which changes the audio in place."""

    def __init__(self, effect: GrayBox, size: int) -> None:
        self._stages = {name: Stage(link, size) for name, link in effect.links.items()}
        self._audio = np.zeros((size, 1), np.float32)

    def turn(self, controls: Tensor | None) -> None:
        for stage in self._stages.values():
            stage.turn(controls)

    def load(self, state: Any) -> None:
        for name, stage in self._stages.items():
            stage.load(state[name])

    @torch.inference_mode()
    def run(self, x: np.ndarray, length: int) -> np.ndarray:
        self._audio[:length] = x[:length]
        for stage in self._stages.values():
            stage.run(self._audio, x, length)
        return self._audio[:, 0]


@lower_effect.register
def _(effect: GrayBox, size: int) -> Plan:
    return ChainPlan(effect, size)
