"""Means of repeated runs, and what can be said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple


class Spread(NamedTuple):
    """Of repeated measurements: how many, mean, standard deviation, and the confidence interval of the mean.

    With one measurement there is no deviation and no interval: NaN.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float

    def overlaps(self, other: Spread) -> bool:
        """Whether the intervals of two means have a value in common; an interval that is not known has none."""
        return self.low <= other.high and other.low <= self.high


def spread(values: Sequence[float], confidence: float = 0.95) -> Spread:
    """mean ± t sd / sqrt(n), t the quantile of Student's distribution with n - 1 degrees of freedom.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("spread: got no values, needs one or more")
    centre = mean(values)
    if len(values) == 1 or not all(map(math.isfinite, values)):
        return Spread(len(values), centre, math.nan, math.nan, math.nan)
    sd = stdev(values)
    reach = student_t(confidence, len(values) - 1) * sd / math.sqrt(len(values))
    return Spread(len(values), centre, sd, centre - reach, centre + reach)


def student_t(confidence: float, degrees: int) -> float:
    """t with P(|T| < t) = confidence, for whole degrees of freedom.

    Raises:
        ValueError: the confidence is not between 0 and 1, or there are no degrees of freedom.
    """
    if not 0 < confidence < 1 or degrees < 1:
        raise ValueError(f"student_t: confidence {confidence}, degrees {degrees}; needs 0 to 1, and 1 or more")
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _probability(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) tan(angle)), by the sums for whole degrees (Abramowitz and Stegun 1964, 26.7.3, 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2
    if degrees == 1:
        return 2 * angle / math.pi
    term = total = cosine if is_odd else 1.0
    for k in range(2 + is_odd, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total


def ranks(values: Sequence[float], higher_is_better: bool = False) -> list[float]:
    """1 for the best value; equal ones share the mean of their ranks, and what is no number comes last."""
    keys = [math.inf if math.isnan(value) else -value if higher_is_better else value for value in values]
    ordered = sorted(keys)
    return [ordered.index(key) + (ordered.count(key) + 1) / 2 for key in keys]
