"""A gray box, stage by stage: what each does, and how its parameters move under the audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nablafx.plots.comparison import envelope
from nablafx.plots.style import Theme, hertz, label, panel, sheet, theme_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = {"_db": "dB", "_hz": "Hz", "_ms": "ms", "_deg": "°"}
MOST_TOLD = 16  # parameters in words
ROW_INCHES = 2.3


class StageView(NamedTuple):
    """One stage.

    Attributes:
        name, kind: of the stage and of its processor.
        audio: what comes out of it, (T,).
        params: physical values by name, (N,): N = 1 or one a block.
        block_size: samples that each of them holds for.
        freqs_hz, response: (F,) and (N or 1, F) complex, where it is linear.
        levels, curve: (L,) each, where a constant input tells it.
    """

    name: str
    kind: str
    audio: np.ndarray
    params: dict[str, np.ndarray]
    block_size: int | None = None
    freqs_hz: np.ndarray | None = None
    response: np.ndarray | None = None
    levels: np.ndarray | None = None
    curve: np.ndarray | None = None


def plot_stages(stages: Sequence[StageView], sample_rate: int, title: str = "Stages", dark: bool = False) -> Figure:
    """A row a stage: response or curve on the left, on the right its audio with what moves, and what stays in words.

    Raises ValueError for no stages.
    """
    if not stages:
        raise ValueError("plot_stages: got no stages, needs one or more")
    theme = theme_of(dark)
    height = ROW_INCHES * len(stages) + 0.8
    figure = sheet(title, 12.5, height, theme)
    grid = figure.add_gridspec(
        len(stages),
        3,
        width_ratios=(1.25, 1.5, 0.75),
        left=0.06,
        right=0.985,
        top=1 - 0.85 / height,
        bottom=0.55 / height,
        wspace=0.22,
        hspace=0.75,
    )
    for row, stage in enumerate(stages):
        _draw_function(panel(figure, grid[row, 0], theme), stage, theme)
        _draw_audio(panel(figure, grid[row, 1], theme), stage, sample_rate, theme)
        _tell(figure.add_subplot(grid[row, 2]), stage, theme)
    return figure


def told(name: str, value: float) -> str:
    """A parameter with its unit: 'cutoff 1,250 Hz'."""
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    figure = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{stem_of(name)} {figure}{'' if unit in ('', '°') else ' '}{unit}"


def stem_of(name: str) -> str:
    """A parameter's name without its unit."""
    return next((name.removesuffix(end) for end in UNITS if name.endswith(end)), name).replace("_", " ")


def told_parameters(stage: StageView) -> list[str]:
    """Each parameter with its unit; one that moves with its range, and those first."""
    fixed = [told(name, float(values[0])) for name, values in stage.params.items() if len(values) == 1]
    ranges = [
        f"{told(name, float(np.min(values)))} … {told(name, float(np.max(values))).removeprefix(stem_of(name) + ' ')}"
        for name, values in stage.params.items()
        if len(values) > 1
    ]
    return [*ranges, *fixed]


def _draw_function(axes: Axes, stage: StageView, theme: Theme) -> None:
    heading = f"{stage.name}: {stage.kind}"
    axes.grid(True, color=theme.faint, lw=0.5, alpha=0.6)
    if stage.response is not None and stage.freqs_hz is not None:
        magnitude = 20 * np.log10(np.maximum(np.abs(stage.response), 1e-6))
        if len(magnitude) > 1:
            quietest, loudest = magnitude.min(axis=0), magnitude.max(axis=0)
            axes.fill_between(stage.freqs_hz, quietest, loudest, color=theme.prediction, alpha=0.25, lw=0)
            magnitude = np.median(magnitude, axis=0, keepdims=True)
        axes.plot(stage.freqs_hz, magnitude[0], color=theme.prediction, lw=1.6)
        hertz(axes, stage.freqs_hz[0], stage.freqs_hz[-1])
        # a flat response is flat, and not what rounding makes of it
        low, high = axes.get_ylim()
        axes.set_ylim(min(max(low, high - 60.0), -1.0), max(high, 1.0))
        label(axes, theme, heading, "frequency (Hz)", "gain (dB)")
    elif stage.curve is not None and stage.levels is not None:
        axes.plot(stage.levels, stage.curve, color=theme.prediction, lw=1.6)
        label(axes, theme, heading, "input", "output")
    else:
        axes.text(0.5, 0.5, "neither linear nor a curve", ha="center", va="center", color=theme.ink)
        axes.set_axis_off()
        label(axes, theme, heading, "")


def _draw_audio(axes: Axes, stage: StageView, sample_rate: int, theme: Theme) -> None:
    starts, low, high = envelope(stage.audio)
    axes.fill_between(starts / sample_rate, low, high, step="post", color=theme.target, alpha=0.45, lw=0)
    axes.set_xlim(0.0, len(stage.audio) / sample_rate)
    moving = {name: values for name, values in stage.params.items() if len(values) > 1}
    label(axes, theme, f"Its output{', and ' + ', '.join(moving) if moving else ''}", "time (s)", "amplitude")
    if moving and stage.block_size:
        right = axes.twinx()
        for (name, values), line in zip(moving.items(), ("-", "--", ":", "-.") * len(moving), strict=False):
            times = np.arange(len(values)) * stage.block_size / sample_rate
            right.plot(times, values, line, color=theme.prediction, lw=1.3, label=name)
        right.tick_params(colors=theme.prediction, labelsize=9)
        right.spines[["top"]].set_visible(False)


def _tell(axes: Axes, stage: StageView, theme: Theme) -> None:
    axes.set_axis_off()
    lines = told_parameters(stage)
    if len(lines) > MOST_TOLD:
        lines = [*lines[: MOST_TOLD - 1], f"and {len(lines) - MOST_TOLD + 1} more"]
    text = "\n".join(lines) or "no parameters"
    axes.text(0.0, 1.0, text, va="top", ha="left", color=theme.ink, fontsize=8, transform=axes.transAxes)
