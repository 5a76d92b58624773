"""Stable sections at random, and what a filter of changing sections does, in a plain loop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Sections (*shape, 6) with poles up to a radius of 0.97, real and complex, and any zeros."""
    rng = np.random.default_rng(seed)
    radius, angle = rng.uniform(0, 0.97, (2, *shape)), rng.uniform(0, np.pi, shape)
    real = rng.random(shape) < 0.3
    a1 = np.where(real, -(radius[0] * np.sign(np.cos(angle)) + radius[1]), -2 * radius[0] * np.cos(angle))
    a2 = np.where(real, radius[0] * radius[1] * np.sign(np.cos(angle)), radius[0] ** 2)
    b = rng.normal(size=(3, *shape))
    return torch.from_numpy(np.stack([*b, np.ones(shape), a1, a2], axis=-1))


def transposed_loop(x: np.ndarray, sets: list[np.ndarray], zi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (B, C, T), for every sample the sections (B or 1, K, 6) that govern it, zi (B, C, K, 2) -> y, zf."""
    y, z = np.zeros(x.shape), zi.copy()
    for n in range(x.shape[-1]):
        u = x[..., n]
        for k in range(zi.shape[2]):
            b0, b1, b2, _, a1, a2 = (sets[n][:, k, j, None] for j in range(6))
            v = b0 * u + z[:, :, k, 0]
            z[:, :, k, 0] = b1 * u - a1 * v + z[:, :, k, 1]
            z[:, :, k, 1] = b2 * u - a2 * v
            u = v
        y[..., n] = u
    return y, z


def relative(found, expected) -> float:
    """The largest error, measured by the largest of what is expected."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def cut(length: int, *cuts: int) -> list[tuple[int, int]]:
    """The parts of range(length) between the cuts."""
    return list(pairwise((0, *cuts, length)))
