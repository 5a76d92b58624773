"""Means, intervals and ranks, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nablafx.report.statistics import ranks, spread, student_t


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 30, 101])
def test_quantiles_are_those_of_scipy(confidence, degrees):
    assert student_t(confidence, degrees) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees), rel=1e-9)


@pytest.mark.parametrize(("confidence", "degrees"), [(0, 3), (1, 3), (0.95, 0)])
def test_quantiles_that_do_not_exist(confidence, degrees):
    with pytest.raises(ValueError, match="student_t: confidence"):
        student_t(confidence, degrees)


def test_spread_is_that_of_scipy():
    values = [0.011, 0.014, 0.013, 0.02, 0.012]
    found = spread(values, 0.9)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    interval = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(interval)


def test_one_value_has_no_spread():
    found = spread([0.3])
    assert (found.n, found.mean) == (1, 0.3)
    assert all(map(math.isnan, found[2:]))
    assert not found.overlaps(spread([0.3, 0.4]))
    with pytest.raises(ValueError, match="needs one or more"):
        spread([])


@pytest.mark.parametrize("higher", [False, True])
def test_ranks_are_those_of_scipy(higher):
    values = [0.3, 0.1, 0.2, 0.1, 0.5, 0.2, 0.2]
    expected = stats.rankdata([-v if higher else v for v in values])
    assert ranks(values, higher) == expected.tolist()
    assert ranks([0.2, math.nan, 0.1]) == [2, 3, 1]
