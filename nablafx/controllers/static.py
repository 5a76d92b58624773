"""Controllers whose parameters stay as they are while the knobs do."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement
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


class QuadraticCondController(Controller):
    """u = sigmoid(b + W c + V (q - m)), c the controls from -1 to 1, q all products c_i c_j and m their means.

    Between settings and beyond them it bends as little as the recordings ask for, where an MLP may do anything: m is
    over the settings that there are recordings of, so that a knob recorded at two values, of whose curve they tell
    nothing, is given none. Without recordings m is that of knobs anywhere.
    """

    mean: Tensor

    def __init__(self, num_parameters: int, num_controls: int, weight_decay: float = 1.0) -> None:
        """
        Args:
            weight_decay: of W and V. Without it, parameters that do next to nothing, of which a steered equaliser has
                many, wander from setting to setting and do something between them. What every setting hears, such
                as a drive, needs none and comes closer without.
        """
        super().__init__(num_parameters, num_controls)
        self._needs_controls()
        self.weight_decay = weight_decay
        self.pairs = list(combinations_with_replacement(range(num_controls), 2))
        self.bias = nn.Parameter(torch.zeros(num_parameters))
        self.slope = nn.Parameter(torch.zeros(num_parameters, num_controls))
        self.curvature = nn.Parameter(torch.zeros(num_parameters, len(self.pairs)))
        self.register_buffer("mean", torch.tensor([1 / 3 if i == j else 0.0 for i, j in self.pairs]))

    def forward(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held, Any]:
        assert controls is not None
        c = 2 * controls - 1
        logits = self.bias + c @ self.slope.T + (self._products(c) - self.mean) @ self.curvature.T
        return Held(torch.sigmoid(logits).unsqueeze(-1)), ()

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, Any]:
        return self.forward(x, controls, ())

    def learn_settings(self, controls: Tensor | None) -> None:
        if controls is not None:
            with torch.no_grad():
                self.mean.copy_(self._products(2 * controls.unique(dim=0) - 1).mean(dim=0))

    def start_at(self, u: Tensor) -> bool:
        """In the middle of the settings."""
        with torch.no_grad():
            self.bias.copy_(_logits(u, torch.zeros_like(self.bias)))
        return True

    def parameter_options(self) -> dict[str, dict[str, float]]:
        return {name: {"weight_decay": self.weight_decay} for name in ("slope", "curvature")}

    def _products(self, c: Tensor) -> Tensor:
        return torch.stack([c[:, i] * c[:, j] for i, j in self.pairs], dim=1)


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
