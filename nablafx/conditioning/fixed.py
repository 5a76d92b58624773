"""The controls themselves, for nets that append them to their input."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nablafx.conditioning.base import Conditioning
from nablafx.layers.held import Held


class FixedConditioning(Conditioning):
    """The controls as they are, at every sample: the published LSTM-C. For effects that append, not for layers."""

    def __init__(self, num_controls: int) -> None:
        super().__init__(num_controls)
        self._needs_controls()
        self.num_features = num_controls

    def encode(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held, Any]:
        assert controls is not None
        return Held(controls.unsqueeze(-1)), ()

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, Any]:
        return self.encode(x, controls, ())

    def modulation(self, num_features: int):
        raise ValueError(
            "FixedConditioning appends controls to an LSTM's input and cannot modulate layers; "
            "use FiLM, TFiLM, TinyTFiLM or TVFiLM"
        )
