"""Statistics that add up, and the distance: against scipy, closed forms and the whole at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from nablafx.embeddings import Gaussian, frechet_distance


def gaussian(vectors: torch.Tensor, cuts: tuple[int, ...] = ()) -> Gaussian:
    made = Gaussian(vectors.shape[-1])
    for part in vectors.tensor_split(cuts):
        made.update(part)
    return made


def vectors(seed: int, count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, size, generator=generator) @ torch.randn(size, size, generator=generator)
    return mixed + 3.0 * torch.randn(size, generator=generator)


@pytest.mark.parametrize(("count", "size"), [(500, 8), (200, 96), (40, 96)])
def test_distance_is_that_of_scipy(count, size):
    a, b = vectors(1, count, size), vectors(2, count + 10, size)
    (m1, c1), (m2, c2) = ((x.double().numpy().mean(0), np.cov(x.double().numpy(), rowvar=False)) for x in (a, b))
    # without full rank scipy's root is exact to 1e-8 only
    root = scipy.linalg.sqrtm(c1 @ c2).real
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2.0 * root)
    assert frechet_distance(gaussian(a), gaussian(b)) == pytest.approx(expected, rel=1e-9 if count > size else 1e-4)


def test_distance_of_diagonal_gaussians_is_the_closed_form():
    a, b = Gaussian(3), Gaussian(3)
    for made, mean, variance in ((a, [0.0, 1.0, 2.0], [1.0, 4.0, 0.0]), (b, [1.0, 1.0, 0.0], [9.0, 1.0, 0.25])):
        made.count, made.mean = 11, torch.tensor(mean, dtype=torch.float64)
        made.scatter = 10.0 * torch.diag(torch.tensor(variance, dtype=torch.float64))
    # means: 1 + 0 + 4; spreads: (1 - 3)² + (2 - 1)² + (0 - 0.5)²
    assert frechet_distance(a, b) == pytest.approx(5.0 + 4.0 + 1.0 + 0.25, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(10.25, rel=1e-12)


@pytest.mark.parametrize("count", [20, 300])
def test_equal_sets_have_no_distance_also_with_few_frames(count):
    x = vectors(3, count, 64)
    scale = float(gaussian(x).covariance.trace())
    assert frechet_distance(gaussian(x), gaussian(x.flip(0), (7,))) < 1e-10 * scale


@pytest.mark.parametrize("cuts", [(1,), (0, 3, 3, 50), tuple(range(1, 60))])
def test_parts_give_what_the_whole_gives(cuts):
    x = vectors(4, 60, 5) + 1e5  # a large mean must not swallow the spread
    whole, parts = gaussian(x), gaussian(x, cuts)
    assert parts.count == 60
    torch.testing.assert_close(parts.mean, x.double().mean(0), rtol=1e-12, atol=0)
    expected = torch.from_numpy(np.cov(x.double().numpy(), rowvar=False))
    for made in (whole, parts):
        torch.testing.assert_close(made.covariance, expected, rtol=1e-9, atol=1e-9)


def test_merging_is_hearing_both():
    x = vectors(5, 50, 4)
    first, second = gaussian(x[:20]), gaussian(x[20:])
    first.merge(second)
    first.merge(Gaussian(4))
    torch.testing.assert_close(first.covariance, gaussian(x).covariance)


@pytest.mark.parametrize(("count", "told"), [(0, "there are 0"), (1, "there is 1")])
def test_too_few_frames_are_told(count, told):
    with pytest.raises(ValueError, match=f"at least 2 frames, and {told}"):
        frechet_distance(gaussian(vectors(6, 3, 4)), gaussian(vectors(6, 3, 4)[:count]))


def test_other_sizes_are_told():
    with pytest.raises(ValueError, match=r"\(2, 5\); it was made for \(\.\.\., 4\)"):
        Gaussian(4).update(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="have 4 and 5 numbers"):
        frechet_distance(gaussian(vectors(1, 9, 4)), gaussian(vectors(1, 9, 5)))


def test_what_is_no_number_gives_none():
    broken = vectors(1, 9, 4)
    broken[3, 2] = math.nan
    assert math.isnan(frechet_distance(gaussian(vectors(1, 9, 4)), gaussian(broken)))
