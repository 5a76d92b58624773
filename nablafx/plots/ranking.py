"""Models ranked by a metric: a dot a run, and the interval of their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nablafx.plots.style import Theme, literal, theme_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 4
ROW_INCHES = 0.34
WIDE = 8.0  # ratio of the largest to the smallest value from which on an axis is logarithmic

RUN: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 4.5, "markeredgewidth": 0}
MEAN: dict[str, Any] = {"marker": "|", "linestyle": "", "markersize": 13, "markeredgewidth": 2.2}
INTERVAL: dict[str, Any] = {"linestyle": "-", "linewidth": 2, "alpha": 0.6}

Row = tuple[str, str, Mapping[str, Sequence[float]], Mapping[str, Any]]
"""(data set, model, values of each run by metric, (n, mean, sd, low, high) by metric)."""


def plot_ranking(rows: Sequence[Row], metrics: Sequence[str], confidence: float = 0.95, dark: bool = False) -> Figure:
    """A row a model, in the order given, under the name of its data set; a panel a metric, four at most.

    `confidence` is that of the intervals. Raises ValueError without rows or metrics.
    """
    from matplotlib.figure import Figure

    if not rows or not metrics:
        raise ValueError(f"plot_ranking: got {len(rows)} rows and {len(metrics)} metrics, needs one of each or more")
    theme = theme_of(dark)
    shown = list(metrics)[:MOST_PANELS]
    labels, places = _places(rows)
    longest = max(len(text) for _, text, _ in labels)
    left = 0.07 * longest + 0.3
    width, height = left + 3.4 * len(shown) + 0.3, ROW_INCHES * (len(labels) + 1) + 1.2
    figure = Figure(figsize=(width, height), dpi=100, facecolor=theme.ground)
    grid = figure.add_gridspec(
        1,
        len(shown),
        left=left / width,
        right=1 - 0.3 / width,
        bottom=0.75 / height,
        top=1 - 0.45 / height,
        wspace=0.12,
    )
    for number, metric in enumerate(shown):
        axes = figure.add_subplot(grid[number])
        _draw(axes, rows, places, metric, theme)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_yticks([place for place, _, _ in labels])
        axes.set_yticklabels([literal(text) for _, text, _ in labels] if number == 0 else [])
        for tick, (_, _, is_title) in zip(axes.get_yticklabels(), labels, strict=True):
            tick.set_fontweight("bold" if is_title else "normal")
    _explain(figure, theme, confidence)
    return figure


def _explain(figure: Figure, theme: Theme, confidence: float) -> None:
    """What the marks are, below the panels."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=theme.target, label="a run", **RUN),
        Line2D([], [], color=theme.prediction, label="mean", **MEAN),
        Line2D([], [], color=theme.prediction, label=f"{100 * confidence:g} % interval of the mean", **INTERVAL),
    ]
    figure.legend(
        handles=marks,
        loc="lower right",
        bbox_to_anchor=(1 - 0.25 / figure.get_figwidth(), 0.05 / figure.get_figheight()),
        ncols=len(marks),
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9,
    )


def _places(rows: Sequence[Row]) -> tuple[list[tuple[int, str, bool]], list[int]]:
    """(place, text, whether it is a data set) of every label, and the place of every row."""
    labels: list[tuple[int, str, bool]] = []
    places: list[int] = []
    before = None
    for data, model, _, _ in rows:
        if data != before:
            labels.append((len(labels), data, True))
            before = data
        places.append(len(labels))
        labels.append((len(labels), model, False))
    return labels, places


def _draw(axes: Axes, rows: Sequence[Row], places: list[int], metric: str, theme: Theme) -> None:
    every = []
    for (_, _, values, spreads), place in zip(rows, places, strict=True):
        finite = [value for value in values[metric] if math.isfinite(value)]
        every += finite
        # above the interval, which would hide them
        axes.plot(finite, [place] * len(finite), color=theme.target, zorder=4, **RUN)
        _, mean, _, low, high = spreads[metric]
        if math.isfinite(low):
            axes.plot([low, high], [place, place], color=theme.prediction, zorder=2, **INTERVAL)
        if math.isfinite(mean):
            axes.plot([mean], [place], color=theme.prediction, zorder=3, **MEAN)
    positive = [value for value in every if value > 0]
    if positive and len(positive) == len(every) and max(positive) > WIDE * min(positive):
        axes.set_xscale("log")
        # an interval may reach below zero, where a logarithm ends
        axes.set_xlim(left=min(positive) / 2)
    axes.set_title(literal(metric), color=theme.ink, fontsize=11, loc="left")
    axes.set_facecolor(theme.ground)
    axes.grid(True, color=theme.faint, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.ink, labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_color(theme.faint)
