"""Activations by the names that .nam files use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nablafx.export.nam.fields import Fields, text


class LeakyHardtanh(nn.Module):
    """x within [low, high], and beyond them a line of another slope."""

    def __init__(self, low: float, high: float, low_slope: float, high_slope: float) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.low_slope, self.high_slope = low_slope, high_slope

    def forward(self, x: Tensor) -> Tensor:
        inside = x.clamp(self.low, self.high)
        return inside + self.low_slope * (x - self.low).clamp_max(0) + self.high_slope * (x - self.high).clamp_min(0)


class Slopes(nn.Module):
    """x above zero, a slope of the channel (or of all) times x below. The slopes are part of a file's config."""

    slopes: Tensor

    def __init__(self, slopes: list[float]) -> None:
        super().__init__()
        # wherever the net is being built: its weights come later, these are here
        self.register_buffer("slopes", torch.tensor(slopes, device="cpu").unsqueeze(-1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.slopes * x)


SIMPLE: dict[str, Callable[[], nn.Module]] = {
    "Tanh": nn.Tanh,
    # a cheap approximation of it in players, which use it for Tanh as well
    "Fasttanh": nn.Tanh,
    # between -1 and 1 whatever bounds a file gives: players know no others
    "Hardtanh": nn.Hardtanh,
    "ReLU": nn.ReLU,
    "Sigmoid": nn.Sigmoid,
    "SiLU": nn.SiLU,
    "Hardswish": nn.Hardswish,
    "Softsign": nn.Softsign,
}


def make_activation(described: Any, place: str, channels: int) -> nn.Module:
    """From a name, or an object of `type` and parameters.

    Raises:
        ValueError: there is no such activation, or its parameters do not fit.
    """
    if isinstance(described, str):
        described = {"type": described}
    fields = Fields(described, place)
    name = text(described.get("type"), f"{place}.type", [*SIMPLE, *PARAMETRIC])
    return SIMPLE[name]() if name in SIMPLE else PARAMETRIC[name](fields, channels)


def _leaky_relu(fields: Fields, channels: int) -> nn.Module:
    return nn.LeakyReLU(fields.number("negative_slope", 0.01))


def _leaky_hardtanh(fields: Fields, channels: int) -> nn.Module:
    low, high = fields.number("min_val", -1.0), fields.number("max_val", 1.0)
    if low > high:
        raise ValueError(f"{fields.place('min_val')} is {low}, above max_val, {high}")
    return LeakyHardtanh(low, high, fields.number("min_slope", 0.01), fields.number("max_slope", 0.01))


def _prelu(fields: Fields, channels: int) -> nn.Module:
    if "negative_slopes" not in fields:
        return Slopes([fields.number("negative_slope", 0.01)])
    slopes = fields.numbers("negative_slopes")
    if len(slopes) not in (1, channels):
        raise ValueError(f"{fields.place('negative_slopes')} are {len(slopes)}, for {channels} channels")
    return Slopes(slopes)


PARAMETRIC: dict[str, Callable[[Fields, int], nn.Module]] = {
    "LeakyReLU": _leaky_relu,
    "PReLU": _prelu,
    "LeakyHardtanh": _leaky_hardtanh,
}
