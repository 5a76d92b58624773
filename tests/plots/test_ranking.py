"""A ranking shows each run where its value is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nablafx.plots.ranking import plot_ranking

NAN = math.nan
ROWS = [
    (
        "ts9",
        "lstm",
        {"esr": [0.01, 0.02], "mae": [1.0, 1.1]},
        {"esr": (2, 0.015, 0.007, -0.05, 0.08), "mae": (2, 1.05, 0, 1, 1.1)},
    ),
    ("ts9", "tcn", {"esr": [0.3], "mae": [NAN]}, {"esr": (1, 0.3, NAN, NAN, NAN), "mae": (1, NAN, NAN, NAN, NAN)}),
    ("klon", "lstm", {"esr": [0.4], "mae": [1.2]}, {"esr": (1, 0.4, NAN, NAN, NAN), "mae": (1, 1.2, NAN, NAN, NAN)}),
]


@pytest.mark.parametrize("dark", [False, True])
def test_values_stand_in_the_row_of_their_model(dark):
    figure = plot_ranking(ROWS, ["esr", "mae"], 0.9, dark)
    esr, mae = figure.axes
    assert [tick.get_text() for tick in esr.get_yticklabels()] == ["ts9", "lstm", "tcn", "klon", "lstm"]
    dots = [line for line in esr.get_lines() if line.get_marker() == "o"]
    assert [
        line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else list(line.get_xdata()) for line in dots
    ] == [
        [0.01, 0.02],
        [0.3],
        [0.4],
    ]
    assert [set(np.asarray(line.get_ydata()).tolist()) for line in dots] == [{1}, {2}, {4}]
    assert (esr.get_xscale(), mae.get_xscale()) == ("log", "linear")
    assert esr.get_xlim()[0] == pytest.approx(0.005)  # the interval reaches below zero
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a run", "mean", "90 % interval of the mean"]
    intervals = [line for line in esr.get_lines() if line.get_linestyle() == "-"]
    assert [list(line.get_xdata()) for line in intervals] == [[-0.05, 0.08]]


def test_nothing_cannot_be_drawn():
    with pytest.raises(ValueError, match="got 0 rows and 1 metrics"):
        plot_ranking([], ["esr"])
