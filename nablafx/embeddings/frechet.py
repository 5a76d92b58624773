"""The Fréchet distance between two sets of vectors, taken for Gaussian."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


class Gaussian:
    """Mean and covariance of the vectors seen so far, as sums: memory does not grow with their number."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.sum = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64)

    def update(self, vectors: Tensor) -> None:
        """Add (N, size)."""
        vectors = vectors.double()
        self.count += len(vectors)
        self.sum += vectors.sum(dim=0)
        self.products += vectors.T @ vectors

    def merged(self, others: Iterable[Gaussian]) -> Gaussian:
        """With what others have seen."""
        both = Gaussian(len(self.sum))
        for part in (self, *others):
            both.count += part.count
            both.sum += part.sum
            both.products += part.products
        return both

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (size,) and covariance (size, size), over N - 1."""
        mean = self.sum / self.count
        return mean, (self.products - self.count * torch.outer(mean, mean)) / (self.count - 1)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½); NaN where a set has fewer than two vectors.

    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", J. Multivar. Anal. 12 (1982);
    of audio: Kilgour et al., "Fréchet Audio Distance", Interspeech 2019. The trace of the root is the sum of the roots
    of the eigenvalues of Σ_a^½ Σ_b Σ_a^½, which is symmetric, so that singular covariances, of few vectors, do no harm.
    """
    if min(a.count, b.count) < 2:
        return math.nan
    (mean_a, cov_a), (mean_b, cov_b) = a.moments(), b.moments()
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(float(distance), 0.0)
