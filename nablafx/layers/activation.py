"""Activations by the names that configs use."""

from __future__ import annotations

from typing import Literal

from torch import nn

from nablafx.layers.rational import Rational

ActType = Literal["tanh", "prelu", "rational"]
OutputActivation = Literal["tanh", "none"]


def make_activation(act_type: ActType, channels: int) -> nn.Module:
    """tanh; prelu with a slope per channel; or a learned rational of degrees (4, 3) that starts as tanh."""
    makers = {"tanh": nn.Tanh, "prelu": lambda: nn.PReLU(channels), "rational": Rational}
    return _choose(makers, act_type, "act_type")()


def make_output_activation(name: OutputActivation) -> nn.Module:
    """The last non-linearity: tanh as published, or none, which the plug-in formats want."""
    return _choose({"tanh": nn.Tanh, "none": nn.Identity}, name, "output_activation")()


def _choose(makers: dict, name: str, argument: str):
    if name not in makers:
        raise ValueError(f"{argument}: got {name!r}, needs one of {', '.join(makers)}")
    return makers[name]
