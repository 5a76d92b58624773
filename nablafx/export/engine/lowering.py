"""How modules become plans: by their class, each with a rule in the file of its kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from nablafx.kernels.streams.nets import LANES, PRELU, RATIONAL, RELU, TANH, dense
from nablafx.layers.rational import Rational

# samples of a block that holds for ever
FOREVER = 2**62
_NO_TABLE = np.zeros((1, 1), np.float32)


class NoLoweringError(ValueError):
    """A module that the engine has no rule for."""

    def __init__(self, module: nn.Module, reason: str = "there is no rule for its class") -> None:
        super().__init__(f"NumbaEngine cannot run {type(module).__name__}: {reason}; TorchEngine runs every effect")


class Plan(Protocol):
    """What a rule makes of an effect: arrays, and the order of the loops over them.

    `run` gets audio (size, 1), of which `length` samples count, and returns as many in an array of its own. What the
    knobs (1, P) decide is computed in `turn`; `load` copies a state of the effect, of one item.
    """

    def turn(self, controls: Tensor | None) -> None: ...

    def load(self, state: Any) -> None: ...

    def run(self, x: np.ndarray, length: int) -> np.ndarray: ...


@singledispatch
def lower_effect(effect: nn.Module, size: int) -> Plan:
    """The plan of an effect for pieces of up to `size` samples."""
    raise NoLoweringError(effect)


@singledispatch
def lower_activation(module: nn.Module, size: int) -> tuple[int, np.ndarray]:
    """Kind and table of :func:`nablafx.kernels.streams.nets.bend` for up to `size` samples."""
    raise NoLoweringError(module)


def rule_for(rules: Any, module: nn.Module) -> Callable[..., Any]:
    """The rule of exactly this class, or that of all others: a subclass may compute what its base knows nothing of."""
    return rules.registry.get(type(module), rules.registry[object])


@lower_activation.register
def _(module: nn.Identity, size: int) -> tuple[int, np.ndarray]:
    return 0, _NO_TABLE


@lower_activation.register
def _(module: nn.Tanh, size: int) -> tuple[int, np.ndarray]:
    return TANH, _NO_TABLE


@lower_activation.register
def _(module: nn.ReLU, size: int) -> tuple[int, np.ndarray]:
    return RELU, _NO_TABLE


@lower_activation.register
def _(module: nn.PReLU, size: int) -> tuple[int, np.ndarray]:
    return PRELU, np.tile(in_lanes(numbers(module.weight)), (1, size)).astype(np.float32)


@lower_activation.register
def _(module: Rational, size: int) -> tuple[int, np.ndarray]:
    numerator, denominator = numbers(module.numerator), np.abs(numbers(module.denominator))
    if len(numerator) > 7 or len(denominator) > 5:
        raise NoLoweringError(module, "its degrees are above 6/5")
    table = np.zeros((2, 7), np.float32)
    table[0, : len(numerator)] = numerator
    table[1, : len(denominator) + 1] = [1, *denominator]
    return RATIONAL, table


def numbers(tensor: Tensor) -> np.ndarray:
    """The values of a tensor, float64."""
    return tensor.detach().double().numpy()


def padded(channels: int) -> int:
    """Channels filled up to whole groups."""
    return -(-channels // LANES) * LANES


def in_lanes(values: np.ndarray, parts: int = 1, axis: int = -1) -> np.ndarray:
    """`parts` times C channels along an axis, each part filled up with zeros to whole groups."""
    values = np.moveaxis(values, axis, -1)
    split = values.reshape(*values.shape[:-1], parts, values.shape[-1] // parts)
    missing = padded(split.shape[-1]) - split.shape[-1]
    split = np.pad(split, [(0, 0)] * (split.ndim - 1) + [(0, missing)])
    return np.moveaxis(split.reshape(*values.shape[:-1], parts * split.shape[-1]), -1, axis)


def by_group(values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Channels in whole groups, (..., W), -> (G, ..., LANES)."""
    grouped = values.reshape(*values.shape[:-1], -1, LANES)
    return np.ascontiguousarray(np.moveaxis(grouped, -2, 0), dtype=dtype)


def taps_of(layer: nn.Linear | nn.Conv1d, parts_in: int = 1, parts_out: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Weights (G, K, I, LANES) and biases (G, LANES), channels of both sides lying in parts of whole groups.

    One part of inputs needs no filling up: the loops stop where its channels end.
    """
    weight = numbers(layer.weight)
    weight = weight[..., None] if weight.ndim == 2 else weight
    if parts_in > 1:
        weight = in_lanes(weight, parts_in, axis=1)
    bias = np.zeros(len(weight)) if layer.bias is None else numbers(layer.bias)
    return by_group(in_lanes(weight.transpose(2, 1, 0), parts_out)), by_group(in_lanes(bias, parts_out))


def readout_of(layer: nn.Linear | nn.Conv1d) -> tuple[np.ndarray, np.float32]:
    """Weights (W,) and bias of a layer with one output."""
    weight = in_lanes(numbers(layer.weight).reshape(-1)).astype(np.float32)
    return weight, np.float32(0 if layer.bias is None else layer.bias.item())


class Dense:
    """A linear layer or a 1x1 convolution with its activation, for features (T, W).

    Attributes:
        out: (size, W), what the last run gave.
    """

    def __init__(
        self,
        layer: nn.Linear | nn.Conv1d,
        size: int,
        act: nn.Module | None = None,
        parts_in: int = 1,
        parts_out: int = 1,
    ) -> None:
        self._weight, self._bias = taps_of(layer, parts_in, parts_out)
        self.out = np.zeros((size, self._bias.size), np.float32)
        act = act or nn.Identity()
        self._kind, self._table = rule_for(lower_activation, act)(act, size)

    def run(self, x: np.ndarray, length: int) -> np.ndarray:
        """x (T, I) -> act(W x + b), in `out`."""
        dense(x, self._weight, self._bias, self._kind, self._table, self.out, length)
        return self.out
