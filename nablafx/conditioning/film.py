"""FiLM: a scale and a shift per channel, made of the controls (Perez et al. 2018, arXiv 1709.07871)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nablafx.conditioning.base import Conditioning, Modulation
from nablafx.layers.held import Held
from nablafx.layers.mlp import MLP
from nablafx.layers.running_norm import RunningNorm


class FiLM(Conditioning):
    """Controls -> MLP shared by the net; per layer a linear map to (γ, β), y = γ norm(x) + β.

    The published net normalises by the statistics of the batch in training and by their running mean in evaluation;
    here it is the running mean in both (see :class:`RunningNorm`).
    """

    def __init__(self, num_controls: int, hidden_size: int = 32, num_features: int = 32) -> None:
        super().__init__(num_controls)
        self._needs_controls()
        self.num_features = num_features
        self.mlp = MLP(num_controls, hidden_size, hidden_size, num_features)

    def encode(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held, Any]:
        return Held(self.mlp(controls).unsqueeze(-1)), ()

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, Any]:
        return self.encode(x, controls, ())

    def modulation(self, num_features: int) -> Modulation:
        return FiLMModulation(self.num_features, num_features)


class FiLMModulation(Modulation):
    """Linear map of the shared features to (γ, β) of one layer; γ norm(x) + β."""

    def __init__(self, cond_features: int, num_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(cond_features, 2 * num_features)
        self.norm = RunningNorm(num_features)

    @property
    def listens(self) -> bool:
        """In training alone, for the statistics."""
        return self.training

    def forward(self, x: Tensor | None, cond: Held | None, state: Any) -> tuple[Held, Any]:
        return self._held(cond), state if x is None else self.norm.gather(x, state)

    def rest(self, x: Tensor, cond: Held | None) -> tuple[Held, Any]:
        return self._held(cond), self.norm.empty(x)

    def absorb(self, state: Any) -> Any:
        return self.norm.absorb(state)

    def _held(self, cond: Held | None) -> Held:
        assert cond is not None
        scale, shift = self.linear(cond.values.squeeze(-1)).unsqueeze(-1).chunk(2, dim=1)
        # normalisation folded into γ and β: one pass over the audio
        gain, bias = self.norm.affine()
        return Held(torch.cat([scale * gain, shift + scale * bias], dim=1))
