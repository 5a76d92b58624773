"""Target against prediction: where they differ in time, and where in frequency."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nablafx.plots.style import Theme, label, legend, panel, sheet, theme_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ZOOM_SECONDS = 0.02
FLOOR_DB = -80.0  # below this, relative to the target's loudest band, a spectrogram shows nothing
DIFFERENCE_DB = 20.0
COLUMNS = 600  # of an envelope or a spectrogram: what a figure has pixels for, however long the file is
BANDS = 160


def plot_comparison(
    target: Any,
    prediction: Any,
    sample_rate: int,
    dry: Any = None,
    title: str = "Prediction against target",
    dark: bool = False,
) -> "Figure":
    """A figure of the whole file, of the 20 ms around the largest error, and of the spectrograms.

    `target`, `prediction` and `dry` (which only the zoom shows) are arrays or CPU tensors (T,) or (1, T), the
    sample rate is in Hz. The title holds the error-to-signal ratio Σ(y − ŷ)² / Σy².
    Raises ValueError for several channels, unequal lengths or no samples.
    """
    signals = {"target": _mono(target), "prediction": _mono(prediction)}
    if dry is not None:
        signals["dry"] = _mono(dry)
    lengths = {name: len(signal) for name, signal in signals.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"A comparison needs signals of one length above 0, got {lengths}.")
    signals["residual"] = signals["target"] - signals["prediction"]
    theme = theme_of(dark)
    figure = sheet(f"{title}   ·   {_esr(signals)}", 12.0, 9.5, theme)
    # Fixed margins: matplotlib's layout engines would double the time of a figure.
    upper = figure.add_gridspec(
        2, 1, height_ratios=(1.0, 1.3), left=0.065, right=0.985, top=0.91, bottom=0.39, hspace=0.4
    )
    lower = figure.add_gridspec(1, 3, left=0.065, right=0.965, top=0.3, bottom=0.06, wspace=0.15)
    zoom = zoom_window(signals["residual"], sample_rate)
    _draw_overview(panel(figure, upper[0], theme), signals, sample_rate, zoom, theme)
    _draw_zoom(panel(figure, upper[1], theme), signals, sample_rate, zoom, theme)
    _draw_spectrograms([panel(figure, lower[k], theme) for k in range(3)], signals, sample_rate, theme)
    return figure


def zoom_window(error: np.ndarray, sample_rate: int) -> slice:
    """The 20 ms of `error` (T,) that have its largest magnitude as near to their middle as the ends allow."""
    length = min(len(error), max(2, round(ZOOM_SECONDS * sample_rate)))
    start = int(np.argmax(np.abs(error))) - length // 2
    start = min(max(start, 0), len(error) - length)
    return slice(start, start + length)


def envelope(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First sample, minimum and maximum of at most 600 equal parts of a signal (T,)."""
    starts = np.linspace(0, len(signal), min(COLUMNS, len(signal)), endpoint=False).astype(int)
    return starts, np.minimum.reduceat(signal, starts), np.maximum.reduceat(signal, starts)


def spectrogram(signal: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean power per Hz of a signal (T,) in bands that are equally wide in octaves.

    Returns the edges of the columns in s, the edges of the bands in Hz, and the power (bands, columns). In a
    long file a column shows one Hann window of 43 ms out of its time.
    """
    size = 2 ** round(np.log2(0.043 * sample_rate))
    centres = np.linspace(0, len(signal) - 1, min(COLUMNS, 1 + 4 * len(signal) // size)).astype(int)
    padded = np.pad(signal, size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[centres]
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    # A band may be narrower than a bin or hold many; differences of the running sum serve both.
    running = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    nyquist = sample_rate / 2
    edges = np.geomspace(min(40.0, nyquist / 2), nyquist, BANDS + 1)
    position = edges / sample_rate * size
    bands = np.stack([np.interp(position, np.arange(running.shape[1]), row) for row in running], axis=1)
    density = np.diff(bands, axis=0) / np.diff(position)[:, None]
    return np.linspace(0, len(signal) / sample_rate, len(centres) + 1), edges, density


def _mono(signal: Any) -> np.ndarray:
    array = np.asarray(signal, dtype=np.float32)
    if array.ndim == 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 1:
        raise ValueError(f"A comparison shows one channel, (T,) or (1, T); got the shape {array.shape}.")
    return array


def _esr(signals: dict[str, np.ndarray]) -> str:
    energy = np.vdot(signals["target"], signals["target"])
    if energy == 0.0:
        return "the target is silent"
    ratio = np.vdot(signals["residual"], signals["residual"]) / energy
    return f"ESR {ratio:.4g}" + (f" ({10 * np.log10(ratio):.1f} dB)" if ratio > 0.0 else "")


def _draw_overview(axes: "Axes", signals: dict[str, np.ndarray], sample_rate: int, zoom: slice, theme: Theme) -> None:
    starts, low, high = envelope(signals["target"])
    times = starts / sample_rate
    axes.fill_between(times, low, high, step="post", color=theme.target, alpha=0.5, lw=0, label="target")
    _, low, high = envelope(signals["prediction"])
    for edge, name in ((low, "prediction"), (high, None)):
        axes.step(times, edge, where="post", color=theme.prediction, lw=1.0, label=name)
    _, low, high = envelope(signals["residual"])
    axes.fill_between(times, low, high, step="post", color=theme.ink, alpha=0.4, lw=0, label="residual")
    middle = (zoom.start + zoom.stop) / 2 / sample_rate
    axes.axvline(middle, color=theme.ink, lw=1.0, ls=":")
    axes.set_xlim(0.0, len(signals["target"]) / sample_rate)
    label(axes, theme, "Envelopes (dotted: the part below)", "time (s)", "amplitude")
    legend(axes, theme)


def _draw_zoom(axes: "Axes", signals: dict[str, np.ndarray], sample_rate: int, zoom: slice, theme: Theme) -> None:
    times = 1e3 * np.arange(zoom.start, zoom.stop) / sample_rate
    axes.axhline(0.0, color=theme.faint, lw=0.8)
    if "dry" in signals:
        axes.plot(times, signals["dry"][zoom], color=theme.ink, alpha=0.5, lw=1.0, ls=":", label="dry")
    axes.plot(times, signals["target"][zoom], color=theme.target, lw=2.6, label="target")
    axes.plot(times, signals["prediction"][zoom], color=theme.prediction, lw=1.3, label="prediction")
    axes.plot(times, signals["residual"][zoom], color=theme.ink, lw=0.8, label="residual")
    axes.set_xlim(1e3 * zoom.start / sample_rate, 1e3 * zoom.stop / sample_rate)
    axes.ticklabel_format(axis="x", useOffset=False)
    label(axes, theme, "Where the error is largest", "time (ms)", "amplitude")
    legend(axes, theme)


def _draw_spectrograms(panels: list["Axes"], signals: dict[str, np.ndarray], sample_rate: int, theme: Theme) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    times, edges, power = spectrogram(signals["target"], sample_rate)
    full = np.nanmax(power) or 1.0
    floor = full * 10 ** (FLOOR_DB / 10)
    # Both are lifted to the floor, so that the difference shows what can be heard and no rounding noise.
    wet = 10 * np.log10(np.maximum(power, floor) / full)
    heard = 10 * np.log10(np.maximum(spectrogram(signals["prediction"], sample_rate)[2], floor) / full)
    contrast = LinearSegmentedColormap.from_list("contrast", [theme.target, theme.ground, theme.prediction])
    scale = (FLOOR_DB, 0.0)
    maps: tuple[tuple[str, np.ndarray, Any, tuple[float, float]], ...] = (
        ("Target (dB re its peak)", wet, "magma", scale),
        ("Prediction (dB re the target's peak)", heard, "magma", scale),
        ("Prediction relative to target (dB)", heard - wet, contrast, (-DIFFERENCE_DB, DIFFERENCE_DB)),
    )
    for axes, (title, values, colours, (low, high)) in zip(panels, maps, strict=True):
        mesh = axes.pcolormesh(times, edges, values, cmap=colours, vmin=low, vmax=high, rasterized=True)
        _kilohertz(axes, edges)
        bar = axes.figure.colorbar(mesh, ax=axes, pad=0.03, fraction=0.06)
        bar.ax.tick_params(colors=theme.ink, labelsize=10)
        axes.tick_params(labelleft=axes is panels[0])
        label(axes, theme, title, "time (s)", "frequency (kHz)" if axes is panels[0] else "")


def _kilohertz(axes: "Axes", edges: np.ndarray) -> None:
    axes.set_yscale("log")
    marks = [hz for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if edges[0] <= hz <= edges[-1]]
    axes.set_yticks(marks, labels=[f"{hz / 1000:g}" for hz in marks])
    axes.yaxis.minorticks_off()
