"""Recurrent network (Wright et al. 2019, "Real-time black-box modelling with recurrent neural networks", DAFx)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nablafx.effects.base import Effect
from nablafx.effects.stack import ConditioningRecipe, build_appended
from nablafx.layers.activation import OutputActivation, make_output_activation
from nablafx.layers.recurrent import Recurrent


class LSTM(Effect):
    """y = act(Linear(LSTM(x ⊕ cond)) + x). The default is LSTM-32.

    Conditioning appends to the input what its encoder makes: FixedConditioning the controls at every sample (LSTM-C),
    TVFiLM with num_features 16 what an LSTM over the blocks' peaks makes (LSTM-TVC).
    """

    def __init__(
        self,
        num_controls: int = 0,
        hidden_size: int = 32,
        num_layers: int = 1,
        residual: bool = True,
        direct_path: bool = False,
        output_activation: OutputActivation = "tanh",
        conditioning: ConditioningRecipe | None = None,
        cold_start: bool = False,
    ) -> None:
        """
        Args:
            num_controls: controls of the device; supplied by the data.
            residual: add the input before the output activation.
            direct_path: add tanh of a learned gain times the input before the output activation.
            conditioning: recipe, the class FixedConditioning, TVFiLM or FiLM.
            cold_start: a sequence begins in zeros, as for a net of the published code, and not in what silence leaves.
        """
        super().__init__()
        self.cold_start = cold_start
        self.conditioning = build_appended(conditioning, num_controls, type(self).__name__)
        self.num_controls = self.conditioning.num_controls
        self.frame_size = self.conditioning.frame_size
        self.lstm = Recurrent(1 + self.conditioning.num_features, hidden_size, num_layers)
        self.linear = nn.Linear(hidden_size, 1)
        self.residual = residual
        self.direct_gain = nn.Parameter(torch.zeros(())) if direct_path else None
        self.output_activation = make_output_activation(output_activation)

    def process(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        cond, shared = self.conditioning.encode(x, controls, state["conditioning"])
        features = x if cond is None else torch.cat([x, cond.at_samples(x.shape[-1])], dim=1)
        h, lstm = self.lstm(features.transpose(1, 2), state["lstm"])
        y = self.linear(h).transpose(1, 2)
        if self.residual:
            y = y + x
        if self.direct_gain is not None:
            y = y + torch.tanh(self.direct_gain * x)
        return self.output_activation(y), {"conditioning": shared, "lstm": lstm}

    def rest(self, x: Tensor, controls: Tensor | None) -> Any:
        cond, shared = self.conditioning.rest(x, controls)
        features = x if cond is None else torch.cat([x, cond.at_samples(1)], dim=1)
        _, lstm = self.lstm.rest(features.squeeze(-1))
        return {"conditioning": shared, "lstm": lstm}
