"""Training curves: what history.csv holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nablafx.plots.style import label, legend, panel, theme_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Series = Sequence[tuple[int, float]]
WIDE = 5.0  # ratio from which on an axis is logarithmic


def plot_history(history: Mapping[str, Series], title: str = "Training", dark: bool = False) -> Figure:
    """Training and validation loss, metrics of validation, and learning rates over the optimizer step.

    history: (step, value) pairs by column, as history.csv names them: loss/train/total, loss/val/total,
    metrics/val/esr, lr-…. Raises ValueError where there is no loss.
    """
    from matplotlib.figure import Figure

    losses = {stage: history.get(f"loss/{stage}/total", ()) for stage in ("train", "val")}
    if not any(len(series) for series in losses.values()):
        raise ValueError(
            "plot_history: there is no loss/train/total and no loss/val/total; a run logs them as it trains"
        )
    metrics = {name.removeprefix("metrics/val/"): s for name, s in history.items() if name.startswith("metrics/val/")}
    rates = {name: series for name, series in history.items() if name.startswith("lr")}
    theme = theme_of(dark)
    figure = Figure(figsize=(10.0, 7.6), dpi=100, facecolor=theme.ground)
    figure.suptitle(title, color=theme.ink, fontsize=13, y=0.985)
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
                axes.plot(steps, ys, color=colour, lw=1.5, marker="o" if len(points) < 3 else None, label=name)
        if len(values) and values.min() > 0 and values.max() > WIDE * values.min():
            axes.set_yscale("log")
        axes.grid(True, color=theme.faint, lw=0.5, alpha=0.6)
        label(axes, theme, heading, below)
        if any(len(points) for points in series.values()):
            legend(axes, theme)
    return figure
