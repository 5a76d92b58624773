"""What a net was fitted to before any device: a curve and the sines through it, or taps and their response."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nablafx.plots.style import LIGHT, label, legend, panel, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR_DB = -130.0  # below it the bins hold what float32 rounds
RESPONSE_DB = -120.0
# the net is thin, so that the target shows wherever they differ
PENS = {"target": (LIGHT.target, 3.0), "net": (LIGHT.prediction, 1.3), "error": (LIGHT.ink, 0.7)}


class Tone(NamedTuple):
    """A whole number of periods of a sine through the target and through the fit, (T,) each."""

    amplitude: float
    target: np.ndarray
    prediction: np.ndarray


def plot_curve_fit(
    x: np.ndarray,
    target: np.ndarray,
    prediction: np.ndarray,
    tones: Sequence[Tone],
    sample_rate: int,
    title: str = "Fit of a curve",
) -> "Figure":
    """A figure of a curve and its fit over x (N,), of their difference, and of the spectrum of each tone.

    The spectra are relative to the strongest part of the target's, without a window: a tone has whole periods, so
    that each harmonic fills one bin. The sample rate is in Hz.
    Raises ValueError for unequal lengths or no values.
    """
    _check(x, target, prediction)
    figure = sheet(title, 11.0, 7.5, LIGHT)
    upper = figure.add_gridspec(1, 2, left=0.085, right=0.985, top=0.88, bottom=0.57, wspace=0.2)
    lower = figure.add_gridspec(1, max(len(tones), 1), left=0.085, right=0.985, top=0.42, bottom=0.08, wspace=0.2)
    axes = panel(figure, upper[0], LIGHT)
    axes.plot(x, target, color=LIGHT.target, lw=3.0, label="target")
    axes.plot(x, prediction, color=LIGHT.prediction, lw=1.3, label="net")
    axes.margins(x=0.0)
    label(axes, LIGHT, "Curve", "x", "y")
    legend(axes, LIGHT)
    _draw_error(panel(figure, upper[1], LIGHT), x, prediction - target)
    for place, tone in enumerate(tones):
        _draw_tone(panel(figure, lower[place], LIGHT), tone, sample_rate)
    return figure


def plot_taps_fit(
    target: np.ndarray, prediction: np.ndarray, sample_rate: int, title: str = "Fit of an impulse response"
) -> "Figure":
    """A figure of the taps (N,) of a FIR filter and of their fit, and of both magnitude responses.

    The sample rate is in Hz. Raises ValueError for unequal lengths or no values.
    """
    _check(target, prediction)
    figure = sheet(title, 11.0, 6.0, LIGHT)
    grid = figure.add_gridspec(2, 1, left=0.085, right=0.985, top=0.86, bottom=0.1, hspace=0.52)
    signals = _signals(target, prediction)
    _draw_taps(panel(figure, grid[0], LIGHT), signals, sample_rate)
    _draw_responses(panel(figure, grid[1], LIGHT), signals, sample_rate)
    return figure


def _check(*arrays: np.ndarray) -> None:
    shapes = {np.shape(array) for array in arrays}
    if len(shapes) > 1 or 0 in next(iter(shapes)) or len(next(iter(shapes))) != 1:
        raise ValueError(f"A fit is drawn from arrays of one length above 0, (N,); got the shapes {sorted(shapes)}.")


def _draw_error(axes: "Axes", x: np.ndarray, error: np.ndarray) -> None:
    axes.axhline(0.0, color=LIGHT.faint, lw=0.8)
    axes.plot(x, error, color=LIGHT.ink, lw=0.8)
    axes.margins(x=0.0)
    axes.ticklabel_format(axis="y", scilimits=(0, 0), useMathText=True)
    axes.yaxis.get_offset_text().set_color(LIGHT.ink)
    # the power of ten stands on the left, where other panels have their title
    axes.set_title(f"Net minus target, at most {np.abs(error).max():.1e}", loc="right", color=LIGHT.ink, fontsize=11)
    axes.set_xlabel("x", color=LIGHT.ink, fontsize=10)


def _draw_tone(axes: "Axes", tone: Tone, sample_rate: int) -> None:
    full = np.abs(np.fft.rfft(tone.target)).max() or 1.0
    kilohertz = np.fft.rfftfreq(len(tone.target), 1e3 / sample_rate)
    for name, signal in _signals(tone.target, tone.prediction).items():
        colour, width = PENS[name]
        level = _decibels(np.abs(np.fft.rfft(signal)) / full, FLOOR_DB)
        heard = level > FLOOR_DB
        axes.vlines(kilohertz[heard], FLOOR_DB, level[heard], color=colour, lw=1.3 * width, label=name)
    axes.set_ylim(FLOOR_DB, 5.0)
    axes.set_xlim(0.0, sample_rate / 2e3)
    label(axes, LIGHT, f"Sine of amplitude {tone.amplitude:g}", "frequency (kHz)", "level (dB)")
    legend(axes, LIGHT)


def _draw_taps(axes: "Axes", signals: dict[str, np.ndarray], sample_rate: int) -> None:
    times = 1e3 * np.arange(len(signals["target"])) / sample_rate
    for name in ("target", "net"):
        colour, width = PENS[name]
        axes.plot(times, signals[name], color=colour, lw=width, label=name)
    axes.set_xlim(0.0, max(times[-1], 1e3 / sample_rate))
    label(axes, LIGHT, "Taps", "time (ms)", "amplitude")
    legend(axes, LIGHT)


def _draw_responses(axes: "Axes", signals: dict[str, np.ndarray], sample_rate: int) -> None:
    nyquist = sample_rate / 2e3
    kilohertz = np.geomspace(min(0.02, nyquist / 2), nyquist, 300)
    for name, signal in signals.items():
        colour, width = PENS[name]
        level = _decibels(np.abs(response(signal, kilohertz / sample_rate * 1e3)), RESPONSE_DB)
        axes.plot(kilohertz, np.where(level > RESPONSE_DB, level, np.nan), color=colour, lw=width, label=name)
    marks = [khz for khz in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if kilohertz[0] <= khz <= nyquist]
    axes.set_xscale("log")
    axes.set_xticks(marks, labels=[f"{khz:g}" for khz in marks])
    axes.xaxis.minorticks_off()
    axes.set_xlim(kilohertz[0], nyquist)
    label(axes, LIGHT, "Magnitude response", "frequency (kHz)", "gain (dB)")
    legend(axes, LIGHT)


def response(taps: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Frequency response (F,) of taps (N,), Σ_n h_n exp(-2πi f n), at frequencies (F,) in cycles per sample."""
    return np.exp(-2j * np.pi * np.outer(frequencies, np.arange(len(taps)))) @ taps


def _signals(target: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
    return {"target": target, "net": prediction, "error": prediction - target}


def _decibels(magnitude: np.ndarray, floor_db: float) -> np.ndarray:
    return 20.0 * np.log10(np.maximum(magnitude, 10 ** (floor_db / 20)))
