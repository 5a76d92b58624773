"""Temporal FiLM: each layer's own recurrent net makes a scale and a shift per block (arXiv 1909.06628)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nablafx.conditioning.base import Conditioning, Modulation
from nablafx.layers.block_lstm import BlockLSTM
from nablafx.layers.held import Held
from nablafx.layers.mlp import MLP


class PerLayerConditioning(Conditioning):
    """Hands the controls to its layers, each of which listens to its own features."""

    def __init__(self, num_controls: int = 0, block_size: int = 128, lookahead: bool = True) -> None:
        super().__init__(num_controls)
        self.block_size = block_size
        self.lookahead = lookahead
        self.frame_size = block_size if lookahead else 1

    def encode(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held | None, Any]:
        return (None if controls is None else Held(controls.unsqueeze(-1))), ()

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held | None, Any]:
        return self.encode(x, controls, ())


class BlockModulation(Modulation):
    """γ x + β by what a BlockLSTM makes of x itself, passed through `readout` (B, N, hidden) -> (B, N, 2 C)."""

    def __init__(self, listener: BlockLSTM, readout: nn.Module) -> None:
        super().__init__()
        self.listener = listener
        self.readout = readout

    @property
    def listens(self) -> bool:
        return True

    def forward(self, x: Tensor | None, cond: Held | None, state: Any) -> tuple[Held, Any]:
        held, state = self.listener(x, _controls(cond), state)
        return held.map(self._read), state

    def rest(self, x: Tensor, cond: Held | None) -> tuple[Held, Any]:
        held, state = self.listener.rest(x, _controls(cond))
        return held.map(self._read), state

    def _read(self, values: Tensor) -> Tensor:
        return self.readout(values.transpose(1, 2)).transpose(1, 2)


def _controls(cond: Held | None) -> Tensor | None:
    return None if cond is None else cond.values.squeeze(-1)


class TFiLM(PerLayerConditioning):
    """Per layer: max-pool(features) ⊕ controls -> LSTM with 2 C outputs = (γ, β)."""

    def modulation(self, num_features: int) -> Modulation:
        hears = self.num_controls, self.block_size, self.lookahead
        listener = BlockLSTM(num_features, 2 * num_features, *hears, fill_zeros=self.fill_zeros)
        return BlockModulation(listener, nn.Identity())


class TinyTFiLM(PerLayerConditioning):
    """Per layer: max-pool(features) -> 1x1 to `size` ⊕ controls -> LSTM(size) -> ReLU layers 16, 32, 2 C = (γ, β).

    The last ReLU, as published, leaves about half of the gains at zero to begin with; `final_relu: false` drops it.
    """

    def __init__(
        self,
        num_controls: int = 0,
        block_size: int = 128,
        lookahead: bool = True,
        size: int = 4,
        final_relu: bool = True,
    ) -> None:
        super().__init__(num_controls, block_size, lookahead)
        self.size = size
        self.final_relu = final_relu

    def modulation(self, num_features: int) -> Modulation:
        hears = self.num_controls, self.block_size, self.lookahead
        listener = BlockLSTM(num_features, self.size, *hears, squeeze=self.size, fill_zeros=self.fill_zeros)
        *layers, relu = MLP(self.size, 16, 32, 2 * num_features)
        return BlockModulation(listener, nn.Sequential(*layers, *([relu] if self.final_relu else [])))
