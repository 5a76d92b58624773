"""Real-time factors of streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nablafx.plots.style import Theme, label, panel, sheet, theme_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""(samples of a block, real-time factor) by path."""

_COLUMNS = 4


def plot_benchmark(models: Mapping[str, Curves], title: str = "Streams on one thread", dark: bool = False) -> Figure:
    """Real-time factor over block size, a panel a model and a line a path; from the line at 1 on streams keep up.

    Raises ValueError where nothing was timed.
    """
    paths = list(dict.fromkeys(path for curves in models.values() for path in curves))
    if not paths:
        raise ValueError("plot_benchmark: no path of any model was timed")
    theme = theme_of(dark)
    columns = min(_COLUMNS, len(models))
    rows = -(-len(models) // columns)
    width, height = max(3.0 * columns, 6.0) + 0.6, 2.9 * rows + 1.1
    figure = sheet(title, width, height, theme)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.7 / width,
        right=1 - 0.2 / width,
        top=1 - 0.75 / height,
        bottom=0.95 / height,
        hspace=0.45,
        wspace=0.25,
    )
    shared: Axes | None = None
    for number, (name, curves) in enumerate(models.items()):
        axes = panel(figure, grid[number // columns, number % columns], theme)
        if shared is not None:
            axes.sharex(shared)
            axes.sharey(shared)
        shared = shared or axes
        _draw(axes, curves, _pens(theme, paths), theme)
        last = number + columns >= len(models)
        label(axes, theme, name, "block (samples)" if last else "", "" if number % columns else "real-time factor")
    handles = {line.get_label(): line for axes in figure.axes for line in axes.lines if line.get_label() in paths}
    shown = [handles[path] for path in paths if path in handles]
    figure.legend(handles=shown, loc="lower center", ncols=len(shown), frameon=False, labelcolor=theme.ink, fontsize=10)
    return figure


def _draw(axes: Axes, curves: Curves, pens: Mapping[str, tuple[str, str, str]], theme: Theme) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axhline(1.0, color=theme.ink, lw=1)
    measured = sorted({size for points in curves.values() for size, _ in points})
    axes.set_xticks(measured, labels=[f"{size / 1024:g}k" if size >= 1024 else f"{size}" for size in measured])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda factor, _: f"{factor:g}")
    for path, points in curves.items():
        line, marker, colour = pens[path]
        sizes, factors = zip(*points, strict=True)
        axes.plot(sizes, factors, line, marker=marker, ms=4, color=colour, lw=1.5, label=path)
    axes.grid(True, color=theme.faint, lw=0.5, alpha=0.6)


def _pens(theme: Theme, paths: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """A line, marker and colour for each path, no two alike as far as twelve."""
    colours, lines, markers = (theme.target, theme.prediction, theme.ink), ("-", "--", ":", "-."), "os^D"
    return {path: (lines[n // 3 % 4], markers[n // 3 % 4], colours[n % 3]) for n, path in enumerate(paths)}
