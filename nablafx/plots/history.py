"""Training curves: what history.csv holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nablafx.plots.style import Theme, label, legend, literal, panel, sheet, theme_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Series = Sequence[tuple[int, float]]
WIDE = 5.0  # ratio from which on an axis is logarithmic


def plot_history(history: Mapping[str, Series], title: str = "Training", dark: bool = False) -> Figure:
    """Training and validation loss, metrics of validation, and learning rates over the optimizer step.

    history: (step, value) pairs by column, as history.csv names them: loss/train/total, loss/val/total,
    metrics/val/esr, lr-…. Raises ValueError where there is no loss.
    """
    losses = {stage: history.get(f"loss/{stage}/total", ()) for stage in ("train", "val")}
    if not any(len(series) for series in losses.values()):
        raise ValueError(
            "plot_history: there is no loss/train/total and no loss/val/total; a run logs them as it trains"
        )
    metrics = {name.removeprefix("metrics/val/"): s for name, s in history.items() if name.startswith("metrics/val/")}
    rates = {name: series for name, series in history.items() if name.startswith("lr")}
    theme = theme_of(dark)
    figure = sheet(title, 10.0, 7.6, theme)
    grid = figure.add_gridspec(
        3, 1, height_ratios=(2.0, 1.6, 1.0), left=0.09, right=0.98, top=0.89, bottom=0.07, hspace=0.55
    )
    rows: tuple[tuple[str, Mapping[str, Series], str], ...] = (
        ("Loss", {"training": losses["train"], "validation": losses["val"]}, ""),
        ("Metrics of validation", {k: metrics[k] for k in ("esr", "mrstft", "mae") if k in metrics}, ""),
        ("Learning rate", rates, "optimizer step"),
    )
    for number, (heading, series, below) in enumerate(rows):
        axes = panel(figure, grid[number], theme)
        values = np.array([v for s in series.values() for _, v in s if np.isfinite(v)])
        for (name, points), colour in zip(
            series.items(), (theme.target, theme.prediction, theme.ink) * len(series), strict=False
        ):
            if len(points):
                steps, ys = zip(*points, strict=True)
                axes.plot(steps, ys, color=colour, lw=1.5, marker="o" if len(points) < 3 else None, label=literal(name))
        if len(values) and values.min() > 0 and values.max() > WIDE * values.min():
            axes.set_yscale("log")
        axes.grid(True, color=theme.faint, lw=0.5, alpha=0.6)
        label(axes, theme, heading, below)
        if any(len(points) for points in series.values()):
            legend(axes, theme)
    return figure


def plot_histories(
    histories: Mapping[str, Mapping[str, Series]], title: str = "Training", dark: bool = False
) -> Figure:
    """Validation loss, and ESR of validation, of several runs over the optimizer step; as in `plot_history`, by run.

    Raises ValueError where no run has a loss.
    """
    shown = {"Validation loss": "loss/val/total", "ESR of validation": "metrics/val/esr"}
    if not any(history.get("loss/val/total") for history in histories.values()):
        raise ValueError("plot_histories: no run has loss/val/total; a run logs it as it trains")
    theme = theme_of(dark)
    figure = sheet(title, 10.0, 7.0, theme)
    # the names are below, one a line: a row above a panel has no room for many
    below = 0.1 + 0.032 * len(histories)
    grid = figure.add_gridspec(2, 1, left=0.09, right=0.98, top=0.9, bottom=below, hspace=0.4)
    for number, (heading, column) in enumerate(shown.items()):
        axes = panel(figure, grid[number], theme)
        for (name, history), (line, colour) in zip(histories.items(), _pens(theme, len(histories)), strict=True):
            points = history.get(column, ())
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(steps, values, line, color=colour, lw=1.5, label=literal(name))
        drawn = [v for history in histories.values() for _, v in history.get(column, ()) if v > 0]
        if drawn and max(drawn) > WIDE * min(drawn):
            axes.set_yscale("log")
        axes.grid(True, color=theme.faint, lw=0.5, alpha=0.6)
        label(axes, theme, heading, "optimizer step" if number else "")
    figure.legend(*axes.get_legend_handles_labels(), loc="lower left", frameon=False, labelcolor=theme.ink, fontsize=10)
    return figure


def _pens(theme: Theme, count: int) -> list[tuple[str, str]]:
    """So many line styles with colours, no two alike as far as twelve."""
    colours, lines = (theme.target, theme.prediction, theme.ink), ("-", "--", ":", "-.")
    return [(lines[n // len(colours) % len(lines)], colours[n % len(colours)]) for n in range(count)]
