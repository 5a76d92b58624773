"""Time-varying FiLM: one recurrent net, listening to the input, steers all layers (arXiv 2211.00497)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nablafx.conditioning.base import Conditioning, Modulation
from nablafx.layers.block_lstm import BlockLSTM
from nablafx.layers.held import Held


class TVFiLM(Conditioning):
    """max-pool(abs(input)) ⊕ controls -> LSTM shared by the net; per layer a 1x1 convolution to (γ, β)."""

    def __init__(
        self, num_controls: int = 0, block_size: int = 128, lookahead: bool = True, num_features: int = 32
    ) -> None:
        super().__init__(num_controls)
        self.num_features = num_features
        self.frame_size = block_size if lookahead else 1
        self.listener = BlockLSTM(1, num_features, num_controls, block_size, lookahead)

    def encode(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held, Any]:
        return self.listener(x.abs(), controls, state)

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, Any]:
        return self.listener.rest(x.abs(), controls)

    def modulation(self, num_features: int) -> Modulation:
        return TVFiLMModulation(self.num_features, num_features)


class TVFiLMModulation(Modulation):
    """1x1 convolution of the shared features to (γ, β) of one layer; γ x + β."""

    def __init__(self, cond_features: int, num_features: int) -> None:
        super().__init__()
        self.readout = nn.Conv1d(cond_features, 2 * num_features, 1)

    def forward(self, x: Tensor | None, cond: Held | None, state: Any) -> tuple[Held, Any]:
        assert cond is not None
        return cond.map(self.readout), ()

    def rest(self, x: Tensor, cond: Held | None) -> tuple[Held, Any]:
        return self.forward(x, cond, ())
