"""Diagonal state-space systems by their definition: the sum formula in numpy, and scipy's recursive filter per mode."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from nablafx.layers.diagonal_ssm import DiagonalSSM


class Continuous(NamedTuple):
    """s' = A s + u, y = 2 Re(C s) + D u, sampled every dt."""

    A: np.ndarray
    dt: np.ndarray
    C: np.ndarray
    D: np.ndarray


def sum_formula(of: Continuous, length: int) -> np.ndarray:
    """2 Re Σ_n C_n (exp(A_n dt) - 1) / A_n exp(A_n dt l), and D at l = 0."""
    kernel = np.zeros((len(of.dt), length))
    for h, (dt, D) in enumerate(zip(of.dt, of.D, strict=True)):
        for A, C in zip(of.A[h], of.C[h], strict=True):
            kernel[h] += 2 * (C * (np.exp(A * dt) - 1) / A * np.exp(A * dt * np.arange(length))).real
        kernel[h, 0] += D
    return kernel


def recurrence(of: Continuous, u: np.ndarray, state: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """scipy runs every mode by itself: u (B, H, T), state (B, H, N) -> y, state."""
    channels, states = of.A.shape
    y = u * of.D[:, None]
    after = np.zeros((len(u), channels, states), complex)
    before = after if state is None else state
    for h in range(channels):
        for n in range(states):
            z = np.exp(of.A[h, n] * of.dt[h])
            modes, _ = lfilter([(z - 1) / of.A[h, n]], [1, -z], u[:, h], zi=z * before[:, h, n, None])
            y[:, h] += 2 * (of.C[h, n] * modes).real
            after[:, h, n] = modes[:, -1]
    return y, after


def continuous(layer: DiagonalSSM) -> Continuous:
    """The system that the layer's parameters stand for."""
    p = {name: value.detach().double().numpy() for name, value in layer.named_parameters()}
    A = -np.exp(p["log_A_real"]) + 1j * p["A_imag"]
    return Continuous(A, np.exp(p["log_dt"]), p["C"][..., 0] + 1j * p["C"][..., 1], p["D"])
