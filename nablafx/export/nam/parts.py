"""WaveNets as files have them, put together from weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from nablafx.export.nam.layers import FILMS

Activation = dict[str, Any]
TANH: Activation = {"type": "Tanh"}
SIGMOID: Activation = {"type": "Sigmoid"}
# the format has no name for no activation
IDENTITY: Activation = {"type": "LeakyReLU", "negative_slope": 1.0}


class Document(NamedTuple):
    """A network: what a file has under `architecture` and `config`, its weights (N,), and what steers it."""

    architecture: str
    config: dict[str, Any]
    weights: Tensor
    condition: Document | None = None


class Layer(NamedTuple):
    """One layer of an array; C channels, Z = C before an activation, or 2 C before a gated one.

    Attributes:
        weight: of the convolution, (Z, C, K).
        bias: (Z,).
        mix: what it adds to the channels for the next layer, weight (C, C) and bias (C,).
        activation: of the first half where `gate` is the activation of the second.
        head: what it gives to the head, weight (H, C) and bias (H,); None: its features as they are, in all layers.
        direct: weights (Z,) of the condition, which is the input or an LSTM's output.
    """

    weight: Tensor
    bias: Tensor
    mix: tuple[Tensor, Tensor]
    activation: Activation
    dilation: int = 1
    gate: Activation | None = None
    head: tuple[Tensor, Tensor] | None = None
    direct: Tensor | None = None


class Array(NamedTuple):
    """A stack of layers: what makes its channels of those of the array before (C, in), and its head (out, H)."""

    rechannel: Tensor
    layers: list[Layer]
    head: Tensor


def wavenet(arrays: list[Array], tanh: bool = False, condition: Document | None = None) -> Document:
    """The WaveNet of these arrays; `tanh` of the last head."""
    config = {
        "layers": [_config(array) for array in arrays],
        "head": {"channels": 1, "activation": "Tanh", "out_channels": 1, "kernel_sizes": [1]} if tanh else None,
        "head_scale": 1.0,
    }
    # behind tanh lies a convolution, which passes on what it gets
    after = [torch.tensor([1.0, 0.0])] if tanh else []
    weights = [*(w for array in arrays for w in _weights(array)), *after, torch.ones(1)]
    return Document("WaveNet", config, torch.cat([w.double().flatten() for w in weights]), condition)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def matrix(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _config(array: Array) -> dict[str, Any]:
    channels, inputs = array.rechannel.shape
    heads = [layer.head for layer in array.layers]
    inactive = {"active": False, "shift": True, "groups": 1}
    head1x1 = {"active": heads[0] is not None, "out_channels": array.head.shape[1], "groups": 1}
    return {
        "input_size": inputs,
        "condition_size": 1,
        "head": {"out_channels": array.head.shape[0], "kernel_size": 1, "bias": False},
        "channels": channels,
        "bottleneck": channels,
        "kernel_sizes": [layer.weight.shape[-1] for layer in array.layers],
        "dilations": [layer.dilation for layer in array.layers],
        "activation": [layer.activation for layer in array.layers],
        "gating_mode": ["none" if layer.gate is None else "gated" for layer in array.layers],
        "secondary_activation": [layer.gate for layer in array.layers],
        "head1x1": head1x1,
        "layer1x1": {"active": True, "groups": 1},
        "groups_input": 1,
        "groups_input_mixin": 1,
        **{f"{name}_film": inactive for name in FILMS},
        "slimmable": None,
    }


def _weights(array: Array) -> list[Tensor]:
    weights = [array.rechannel]
    for layer in array.layers:
        direct = zeros(len(layer.bias)) if layer.direct is None else layer.direct
        weights += [layer.weight, layer.bias, direct, *layer.mix, *(layer.head or ())]
    return [*weights, array.head]
