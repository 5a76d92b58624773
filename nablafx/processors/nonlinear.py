"""Memoryless non-linearities, fixed or learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.layers.rational import Rational
from nablafx.layers.siren import REACH, SirenCurve
from nablafx.processors.base import Processor


class _Shaper(Processor):
    """y = shape(x), sample by sample."""

    def __init__(self, sample_rate: int = 48_000) -> None:
        super().__init__(sample_rate)

    def shape(self, x: Tensor) -> Tensor:
        """x of any shape -> y of the same."""
        raise NotImplementedError

    def process(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:  # type: ignore[override]
        return self.shape(x), state

    def curve(self, levels: Tensor) -> Tensor:  # type: ignore[override]
        return self.shape(levels).view(1, 1, -1)


class TanhNonlinearity(_Shaper):
    """y = tanh(x)."""

    def shape(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


class StaticRationalNonlinearity(_Shaper):
    """A learned rational function that starts as tanh: see :class:`nablafx.layers.rational.Rational`."""

    def __init__(self, sample_rate: int = 48_000, degrees: tuple[int, int] = (6, 5)) -> None:
        super().__init__(sample_rate)
        self.rational = Rational(degrees)

    def shape(self, x: Tensor) -> Tensor:
        return self.rational(x)


class StaticMLPNonlinearity(_Shaper):
    """A learned curve, a network with sine activations: see :class:`nablafx.layers.siren.SirenCurve`."""

    lr_multiplier = 0.01

    def __init__(
        self,
        sample_rate: int = 48_000,
        hidden_size: int = 32,
        num_hidden: int = 3,
        w0: float = 30.0,
        pretrained: str | None = None,
        reach: float = REACH,
    ) -> None:
        """
        Args:
            pretrained: weights of a curve to start from, such as weights/tanh-32.safetensors.
            reach: what lies outside ± reach gets the value of the nearer end.
        """
        super().__init__(sample_rate)
        self.siren = SirenCurve(hidden_size, num_hidden, w0, reach, pretrained)

    def shape(self, x: Tensor) -> Tensor:
        return self.siren(x)
