"""How far apart two clouds of vectors are, as Gaussians: statistics that add up, and the Fréchet distance."""

from __future__ import annotations

import torch
from torch import Tensor


class Gaussian:
    """Mean and covariance of vectors that come bit by bit, in float64 and in memory for one covariance.

    With n vectors, their mean m and scatter S = Σ (v - m)(v - m)ᵀ, a further part of n', m', S' makes

        m + d n'/(n + n')   and   S + S' + d dᵀ n n'/(n + n'),   d = m' - m

    (Chan, Golub, LeVeque 1979), which loses no digits where the mean is large, and is the same in every order.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.scatter = torch.zeros(size, size, dtype=torch.float64)

    def update(self, vectors: Tensor) -> None:
        """Take vectors (..., size) in.

        Raises:
            ValueError: they have another size.
        """
        size = len(self.mean)
        if vectors.shape[-1] != size:
            raise ValueError(f"Gaussian: vectors are {tuple(vectors.shape)}; it was made for (..., {size})")
        part, rows = Gaussian(size), vectors.detach().cpu().double().reshape(-1, size)
        if len(rows):
            part.count = len(rows)
            part.mean = rows.mean(dim=0)
            part.scatter = (rows - part.mean).T @ (rows - part.mean)
        self.merge(part)

    def merge(self, other: Gaussian) -> None:
        """Take in what another one has heard."""
        total = self.count + other.count
        if total:
            step = other.mean - self.mean
            self.mean = self.mean + step * (other.count / total)
            self.scatter = self.scatter + other.scatter + torch.outer(step, step) * (self.count * other.count / total)
            self.count = total

    @property
    def covariance(self) -> Tensor:
        """S / (n - 1).

        Raises:
            ValueError: it has heard fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(
                f"a covariance needs at least 2 frames, and there {'is' if self.count == 1 else 'are'} {self.count}; "
                "give more or longer audio"
            )
        return self.scatter / (self.count - 1)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """d² = |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½), after Fréchet (1957) and Dowson and Landau (1982); NaN where a
    vector was not finite.

    With Σ = R Rᵀ, tr (Σ₁Σ₂)^½ is the sum of the singular values of R₁ᵀR₂. That needs no root of a product, which
    would turn rounding errors of 1e-16 into 1e-8 wherever there are fewer frames than dimensions.

    Raises:
        ValueError: the vectors are not equally long, or there are fewer than two of them.
    """
    if len(a.mean) != len(b.mean):
        raise ValueError(f"the vectors have {len(a.mean)} and {len(b.mean)} numbers; take one embedding for both")
    covariances = [a.covariance, b.covariance]
    if not all(torch.isfinite(values).all() for values in (a.mean, b.mean, *covariances)):
        return float("nan")
    roots = [_root(covariance) for covariance in covariances]
    common = torch.linalg.svdvals(roots[0].T @ roots[1]).sum()
    means = (a.mean - b.mean).square().sum()
    # rounding may leave something below 0 of equal sets
    return max(float(means + sum(c.trace() for c in covariances) - 2.0 * common), 0.0)


def _root(covariance: Tensor) -> Tensor:
    """R, with R Rᵀ the covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0.0).sqrt()
