"""Controllers whose parameters stay as they are while the knobs do."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nablafx.controllers.base import Controller
from nablafx.layers.held import Held
from nablafx.layers.mlp import MLP

_END = 0.02
_NEAR = 0.1


class StaticController(Controller):
    """u = sigmoid(a learned vector): one setting for the whole device."""

    def __init__(self, num_parameters: int, num_controls: int = 0, init: float | Literal["rnd"] = 0.5) -> None:
        """
        Args:
            num_controls: of the device; it listens to none of them.
            init: u at the start, between 0 and 1; rnd: a normal draw before the sigmoid, as published.
        """
        super().__init__(num_parameters)
        if init == "rnd":
            logits = torch.randn(num_parameters)
        elif isinstance(init, (int, float)) and 0 < init < 1:
            logits = torch.full((num_parameters,), math.log(init / (1 - init)))
        else:
            raise ValueError(f"StaticController: init is {init!r}; it needs a number between 0 and 1, or rnd")
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held, Any]:
        return Held(torch.sigmoid(self.logits).view(1, -1, 1)), ()

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, Any]:
        return self.forward(x, controls, ())

    def start_at(self, u: Tensor) -> bool:
        with torch.no_grad():
            self.logits.copy_(_logits(u, self.logits))
        return True


class StaticCondController(Controller):
    """u = MLP(controls), a sigmoid after each of its three layers."""

    def __init__(self, num_parameters: int, num_controls: int, hidden_size: int = 16) -> None:
        super().__init__(num_parameters, num_controls)
        self._needs_controls()
        self.mlp = MLP(num_controls, hidden_size, hidden_size, num_parameters, activation=nn.Sigmoid)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                _centre(layer)

    def forward(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held, Any]:
        assert controls is not None
        return Held(self.mlp(controls).unsqueeze(-1)), ()

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, Any]:
        return self.forward(x, controls, ())

    def start_at(self, u: Tensor) -> bool:
        """With knobs at 0.5, and near there with all others: as first drawn, they would take a gain by some 40 dB."""
        last = [layer for layer in self.mlp if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():
            last.weight.mul_(_NEAR)
            middle = 0.5 * last.weight.sum(1)
            last.bias.copy_(_logits(u, torch.zeros_like(last.bias)) - middle)
        return True


def _logits(u: Tensor, otherwise: Tensor) -> Tensor:
    """Of u (P,), away from the ends, where a sigmoid learns no more; `otherwise` where u is NaN."""
    u = u.to(otherwise)
    return torch.where(u.isnan(), otherwise, torch.logit(u.clamp(_END, 1 - _END)))


def _centre(layer: nn.Linear) -> None:
    """Start so that knobs at 0.5 give u = 0.5, and are heard.

    A sigmoid passes a quarter of what it is given at most, so the usual weights would leave of a turn of a knob one
    part in five hundred; these are larger, and the biases take the middle of what comes in.
    """
    with torch.no_grad():
        nn.init.normal_(layer.weight, std=4 / math.sqrt(layer.in_features))
        layer.bias.copy_(-0.5 * layer.weight.sum(1))
