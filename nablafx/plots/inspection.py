"""A picture of a recording that may be faulty: the wave and where it clips, how the delay moves, the correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nablafx.plots.style import Theme, label, legend, panel, sheet, theme_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Wave(NamedTuple):
    """The lowest and highest value of each of N equal parts of a file of so many seconds."""

    name: str
    low: np.ndarray
    high: np.ndarray
    seconds: float


class Correlation(NamedTuple):
    """Of wet with dry over lags in milliseconds, 1 for copies, and the delay that was measured."""

    lags_ms: np.ndarray
    values: np.ndarray
    delay_ms: float | None


def plot_inspection(
    title: str,
    waves: Sequence[Wave],
    clipped_s: Sequence[float] = (),
    track: Sequence[tuple[float, float]] = (),
    correlation: Correlation | None = None,
    dark: bool = False,
) -> Figure:
    """The waves one below the other, and beside each other what is known of the delay.

    Args:
        waves: of dry and wet, or of one file; the last one is the one that is clipped.
        clipped_s: where runs at the top begin.
        track: (seconds, delay in samples).
    """
    theme = theme_of(dark)
    extra = bool(track) or correlation is not None
    height = 0.6 + 1.9 * len(waves) + 2.9 * extra
    figure = sheet(title, 10.0, height, theme)
    grid = figure.add_gridspec(
        len(waves) + extra,
        2,
        left=0.08,
        right=0.97,
        top=1 - 0.75 / height,
        bottom=0.6 / height,
        hspace=0.6,
        wspace=0.22,
        height_ratios=[1.0] * len(waves) + [1.5] * extra,
    )
    for row, wave in enumerate(waves):
        last = row == len(waves) - 1
        axes = panel(figure, grid[row, :], theme)
        _draw_wave(axes, wave, clipped_s if last else (), theme)
        label(axes, theme, wave.name, "s" if last else "", "")
    if extra:
        _draw_track(panel(figure, grid[len(waves), 0], theme), track, theme)
        _draw_correlation(panel(figure, grid[len(waves), 1], theme), correlation, theme)
    return figure


def _draw_wave(axes: Axes, wave: Wave, clipped_s: Sequence[float], theme: Theme) -> None:
    seconds = np.linspace(0, wave.seconds, len(wave.low), endpoint=False)
    axes.fill_between(seconds, wave.low, wave.high, color=theme.target, linewidth=0.6, edgecolor=theme.target)
    top = max(1.0, float(np.abs([wave.low, wave.high]).max(initial=0)))
    axes.set_ylim(-1.15 * top, 1.15 * top)
    axes.set_xlim(0, wave.seconds)
    if len(clipped_s):
        marks = np.full(len(clipped_s), 1.08 * top)
        axes.plot(clipped_s, marks, "v", color=theme.prediction, markersize=5, linestyle="", label="clipped")
        legend(axes, theme)


def _draw_track(axes: Axes, track: Sequence[tuple[float, float]], theme: Theme) -> None:
    if len(track):
        seconds, delays = np.array(track).T
        axes.plot(seconds, delays, "o-", color=theme.target, markersize=4, linewidth=1)
        middle, reach = float(np.median(delays)), max(float(np.ptp(delays)), 4.0)
        axes.set_ylim(middle - reach, middle + reach)
    else:
        _say(axes, "the delay could not be followed", theme)
    axes.ticklabel_format(useOffset=False)
    label(axes, theme, "Delay over the file", "s", "samples")


def _draw_correlation(axes: Axes, correlation: Correlation | None, theme: Theme) -> None:
    if correlation is None:
        _say(axes, "there is no pair to correlate", theme)
    else:
        axes.plot(correlation.lags_ms, correlation.values, color=theme.target, linewidth=0.9)
        axes.axhline(0, color=theme.faint, linewidth=0.6)
        if correlation.delay_ms is not None:
            text = f"delay {correlation.delay_ms:.2f} ms"
            axes.axvline(correlation.delay_ms, color=theme.prediction, linewidth=1, linestyle="--", label=text)
            legend(axes, theme)
    label(axes, theme, "Correlation", "lag of wet, ms", "")


def _say(axes: Axes, text: str, theme: Theme) -> None:
    axes.text(0.5, 0.5, text, color=theme.ink, ha="center", va="center", transform=axes.transAxes, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
