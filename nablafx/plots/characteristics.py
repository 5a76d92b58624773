"""What an effect does: frequency response, distortion, transfer loop, gain over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nablafx.plots.style import Theme, hertz, label, legend, panel, sheet, theme_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUIETEST_DB = -120.0
SPAN_DB = 60.0  # of a magnitude axis, at most


def plot_response(
    freqs_hz: np.ndarray,
    levels_db: Sequence[float],
    response: np.ndarray,
    title: str = "Frequency response",
    dark: bool = False,
) -> Figure:
    """Magnitude and phase over frequency (F,), a line a level of the response (L, F) complex.

    The phase is that at the output against the input, between -180 and 180 degrees: identity lies at 0, inversion at
    ±180. Raises ValueError for shapes that do not agree.
    """
    if response.shape != (len(levels_db), len(freqs_hz)):
        raise ValueError(
            f"plot_response: the response is {response.shape}, and there are {len(levels_db)} levels and "
            f"{len(freqs_hz)} frequencies; it needs (levels, frequencies)"
        )
    theme = theme_of(dark)
    figure = sheet(title, 9.0, 6.6, theme)
    grid = figure.add_gridspec(2, 1, left=0.09, right=0.98, top=0.87, bottom=0.085, hspace=0.3)
    upper, lower = (panel(figure, grid[k], theme) for k in range(2))
    for level, row, colour in zip(levels_db, response, _shades(len(levels_db), theme), strict=True):
        magnitude = 20 * np.log10(np.maximum(np.abs(row), 10 ** (QUIETEST_DB / 20)))
        upper.plot(freqs_hz, magnitude, color=colour, lw=1.6, label=f"{level:g} dBFS")
        # a phase of nothing is noise
        phase = np.where(magnitude > magnitude.max() - SPAN_DB, np.angle(row, deg=True), np.nan)
        lower.plot(freqs_hz, _broken(phase), color=colour, lw=1.4)
    top = 20 * np.log10(max(np.abs(response).max(), 1e-6))
    low = max(20 * np.log10(max(np.abs(response).min(), 1e-6)), top - SPAN_DB)
    upper.set_ylim(low - 3.0, top + 3.0)
    lower.set_ylim(-190.0, 190.0)
    lower.set_yticks([-180, -90, 0, 90, 180])
    for axes in (upper, lower):
        hertz(axes, freqs_hz[0], freqs_hz[-1])
        axes.grid(True, color=theme.faint, lw=0.5, alpha=0.6)
    label(upper, theme, "Magnitude", "", "gain (dB)")
    label(lower, theme, "Phase", "frequency (Hz)", "degrees")
    legend(upper, theme)
    return figure


def plot_distortion(
    freqs_hz: np.ndarray,
    parts: Mapping[str, np.ndarray],
    level_db: float,
    title: str = "Distortion",
    dark: bool = False,
) -> Figure:
    """Power of what comes beside a sine (odd, even, inharmonic), relative to it, over its frequency (F,)."""
    theme = theme_of(dark)
    figure = sheet(title, 9.0, 4.4, theme)
    axes = panel(figure, figure.add_gridspec(1, 1, left=0.09, right=0.98, top=0.8, bottom=0.13)[0], theme)
    pens = zip(("o-", "s--", "^:"), (theme.target, theme.prediction, theme.ink), strict=True)
    for (name, power), (line, colour) in zip(parts.items(), pens, strict=True):
        level = 10 * np.log10(np.maximum(power, 10 ** (QUIETEST_DB / 10)))
        axes.plot(freqs_hz, level, line, color=colour, lw=1.3, markersize=4, label=name)
    hertz(axes, freqs_hz[0] / 1.1, freqs_hz[-1] * 1.1)
    axes.set_ylim(QUIETEST_DB - 4.0, max(10.0, axes.get_ylim()[1]))
    axes.grid(True, color=theme.faint, lw=0.5, alpha=0.6)
    label(axes, theme, f"Of sines at {level_db:g} dBFS", "frequency of the sine (Hz)", "re fundamental (dB)")
    legend(axes, theme)
    return figure


def plot_loop(
    x: np.ndarray, y: np.ndarray, frequency_hz: float, title: str = "Transfer curve", dark: bool = False
) -> Figure:
    """Output over input for one period of a slow sine, (N,) each."""
    theme = theme_of(dark)
    figure = sheet(title, 5.6, 5.6, theme)
    axes = panel(figure, figure.add_gridspec(1, 1, left=0.14, right=0.97, top=0.86, bottom=0.11)[0], theme)
    axes.axhline(0.0, color=theme.faint, lw=0.8)
    axes.axvline(0.0, color=theme.faint, lw=0.8)
    axes.plot(np.append(x, x[0]), np.append(y, y[0]), color=theme.prediction, lw=1.8)
    label(axes, theme, f"Sine of {frequency_hz:.0f} Hz, settled", "input", "output")
    return figure


def plot_gain_trace(
    times: np.ndarray,
    traces: Mapping[str, np.ndarray],
    dry: np.ndarray,
    sample_rate: int,
    title: str = "Gain over time",
    dark: bool = False,
) -> Figure:
    """Gains in dB over times in s, (N,) each, by name (target, prediction), under the dry audio (T,)."""
    from nablafx.plots.comparison import envelope

    theme = theme_of(dark)
    figure = sheet(title, 10.0, 5.4, theme)
    grid = figure.add_gridspec(2, 1, height_ratios=(1.0, 2.2), left=0.08, right=0.985, top=0.87, bottom=0.1, hspace=0.4)
    upper, lower = (panel(figure, grid[k], theme) for k in range(2))
    starts, low, high = envelope(dry)
    upper.fill_between(starts / sample_rate, low, high, step="post", color=theme.ink, alpha=0.4, lw=0)
    pens = ((theme.target, 2.6), (theme.prediction, 1.3))
    for (name, gain), (colour, width) in zip(traces.items(), pens, strict=False):
        lower.plot(times, gain, color=colour, lw=width, label=name)
    for axes in (upper, lower):
        axes.set_xlim(0.0, len(dry) / sample_rate)
    lower.grid(True, color=theme.faint, lw=0.5, alpha=0.6)
    label(upper, theme, "Dry audio", "", "amplitude")
    label(lower, theme, "Level of the output to that of the input", "time (s)", "gain (dB)")
    legend(lower, theme)
    return figure


def _broken(phase: np.ndarray) -> np.ndarray:
    """Without the lines from one end of the circle to the other."""
    jumps = np.abs(np.diff(phase, prepend=phase[:1])) > 180.0
    return np.where(jumps, np.nan, phase)


def _shades(count: int, theme: Theme) -> list[tuple[float, ...]]:
    """From the colour of the target to that of the prediction."""
    from matplotlib.colors import to_rgb

    first, last = (np.array(to_rgb(colour)) for colour in (theme.target, theme.prediction))
    return [tuple(first + (last - first) * k / max(count - 1, 1)) for k in range(count)]
