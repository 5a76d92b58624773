"""What layers and conditionings are tested against: the textbook equations in numpy, one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

Weights = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def sigmoid(x: Any) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x)))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()


def lstm_weights(lstm: nn.LSTM) -> list[Weights]:
    """(W_ih, W_hh, b_ih, b_hh) of every layer, by the names that torch documents."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [tuple(array(getattr(lstm, f"{n}_l{k}")) for n in names) for k in range(lstm.num_layers)]


class Lstm:
    """Layers of LSTM cells in float64, one item; begins with zeros. `hc` is a list of (h, c)."""

    def __init__(self, layers: Sequence[Weights]) -> None:
        self.layers = layers
        self.hc = [(np.zeros(w_hh.shape[1]), np.zeros(w_hh.shape[1])) for _, w_hh, _, _ in layers]

    def step(self, x: np.ndarray) -> np.ndarray:
        """i, f, g, o = W x + U h + b;  c <- σ(f) c + σ(i) tanh(g);  h = σ(o) tanh(c)."""
        for n, (w_ih, w_hh, b_ih, b_hh) in enumerate(self.layers):
            h, c = self.hc[n]
            i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            x = sigmoid(o) * np.tanh(c)
            self.hc[n] = (x, c)
        return x

    def settle(self, x: np.ndarray, steps: int = 1000) -> np.ndarray:
        """Its answer after a long constant input."""
        for _ in range(steps):
            y = self.step(x)
        return y


def convolve(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, past: np.ndarray, dilation: int = 1) -> np.ndarray:
    """y[n] = b + Σ_k W_k x[n - d (K - 1 - k)], x[m < 0] = past: weight (out, in, K), x (in, T), past (in,)."""
    taps = weight.shape[-1]
    y = np.tile(bias[:, None], (1, x.shape[-1]))
    for n in range(x.shape[-1]):
        for k in range(taps):
            m = n - dilation * (taps - 1 - k)
            y[:, n] += weight[..., k] @ (x[:, m] if m >= 0 else past)
    return y
