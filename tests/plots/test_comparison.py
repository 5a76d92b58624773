"""Figures show the arrays they were given: their lines are read back."""

import io
import sys

import numpy as np
import pytest
import torch

from nablafx.plots import plot_comparison
from nablafx.plots.comparison import envelope, spectrogram, zoom_window

RATE = 48_000


def pair(seed: int, length: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    target = generator.standard_normal(length).astype(np.float32)
    return target, target + 0.1 * generator.standard_normal(length).astype(np.float32)


@pytest.mark.parametrize("length", [1, 5, 959, 960, 961, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_zoom_holds_the_largest_error(seed, length):
    error = np.random.default_rng(seed).standard_normal(length)
    window = zoom_window(error, RATE)
    assert window.stop - window.start == min(length, 960)
    assert 0 <= window.start <= np.argmax(np.abs(error)) < window.stop <= length


@pytest.mark.parametrize("place", [0, 2499, 4999])
def test_zoom_at_the_ends(place):
    error = np.zeros(5000)
    error[place] = -1.0
    window = zoom_window(error, RATE)
    assert window.start <= place < window.stop


@pytest.mark.parametrize("length", [1, 599, 601, 48_000])
def test_envelope_has_the_extremes_of_each_part(length):
    signal = np.random.default_rng(0).standard_normal(length)
    starts, low, high = envelope(signal)
    ends = [*starts[1:], length]
    parts = [signal[a:b] for a, b in zip(starts, ends, strict=True)]
    assert [part.min() for part in parts] == low.tolist()
    assert [part.max() for part in parts] == high.tolist()
    assert len(starts) <= 600


@pytest.mark.parametrize("frequency", [100.0, 997.0, 12_000.0])
def test_spectrogram_puts_a_sine_into_its_band(frequency):
    signal = np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE)
    times, edges, power = spectrogram(signal, RATE)
    assert times[0] == 0.0
    assert times[-1] == 1.0
    band = power[:, power.shape[1] // 2].argmax()
    assert edges[band] * 0.85 <= frequency <= edges[band + 1] * 1.15  # a bin is 23 Hz wide


@pytest.mark.parametrize("dark", [False, True])
def test_drawn_lines_are_the_arrays(dark):
    target, prediction = pair(0)
    dry = 0.5 * target
    figure = plot_comparison(target, prediction, RATE, dry=dry, title="riff", dark=dark)
    window = zoom_window(target - prediction, RATE)
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    drawn = {"target": target, "prediction": prediction, "dry": dry, "residual": target - prediction}
    for label, signal in drawn.items():
        assert np.array_equal(lines[label].get_ydata(), signal[window])
        assert np.allclose(lines[label].get_xdata(), 1e3 * np.arange(len(signal))[window] / RATE)
    esr = np.sum((target - prediction) ** 2) / np.sum(target**2)
    assert f"riff   ·   ESR {esr:.4g}" in figure.get_suptitle()


def test_spectrograms_of_twice_the_level_differ_by_6_db():
    target, _ = pair(1)
    figure = plot_comparison(target, 2.0 * target, RATE)
    wet, heard, difference = (axes.collections[0].get_array() for axes in figure.axes[2:5])
    assert np.allclose(difference, 20 * np.log10(2.0), atol=1e-3)
    assert np.allclose(heard - wet, difference)


def test_axes_are_labelled_with_units():
    figure = plot_comparison(*pair(2), RATE)
    labels = {axes.get_xlabel() for axes in figure.axes} | {axes.get_ylabel() for axes in figure.axes}
    assert {"time (s)", "time (ms)", "amplitude", "frequency (kHz)"} <= labels


def test_tensors_of_one_channel_are_taken_and_nothing_is_left_open():
    target, prediction = pair(3, 5000)
    figure = plot_comparison(torch.from_numpy(target)[None], torch.from_numpy(prediction)[None], RATE)
    window = zoom_window(target - prediction, RATE)
    assert np.array_equal(figure.axes[1].lines[1].get_ydata(), target[window])
    pyplot = sys.modules.get("matplotlib.pyplot")  # some other package may have loaded it
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize("length", [1, 100])
@pytest.mark.parametrize("case", ["silent", "equal", "nan"])
def test_odd_signals_are_drawn_all_the_same(length, case):
    target, prediction = pair(4, length)
    if case == "silent":
        target = np.zeros_like(target)
    if case == "equal":
        prediction = target
    if case == "nan":
        prediction[length // 2] = np.nan
    figure = plot_comparison(target, prediction, RATE)
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    assert {"silent": "silent", "equal": "ESR 0", "nan": "ESR nan"}[case] in figure.get_suptitle()


@pytest.mark.parametrize(
    ("target", "prediction", "message"),
    [
        (np.zeros(5), np.zeros(6), "one length"),
        (np.zeros(0), np.zeros(0), "one length above 0"),
        (np.zeros((2, 5)), np.zeros((2, 5)), "one channel"),
    ],
)
def test_signals_that_cannot_be_compared_are_refused(target, prediction, message):
    with pytest.raises(ValueError, match=message):
        plot_comparison(target, prediction, RATE)
