"""Figures show the arrays they were given: their lines are read back."""

import io
import sys

import numpy as np
import pytest
from scipy.signal import freqz

from nablafx.plots.pretraining import FLOOR_DB, Tone, plot_curve_fit, plot_taps_fit, response

RATE = 48_000
PHASE = 2 * np.pi * 1000 * np.arange(4800) / RATE


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def stems(axes):
    """Frequency in kHz and level of every stem, by label."""
    drawn = {}
    for collection in axes.collections:
        segments = np.array(collection.get_segments())
        drawn[collection.get_label()] = dict(zip(segments[:, 0, 0].round(6), segments[:, 1, 1], strict=True))
    return drawn


def curve_figure(tones=()):
    x = np.linspace(-3, 3, 301)
    return x, plot_curve_fit(x, np.tanh(x), np.tanh(x) + 0.01 * np.cos(x), tones, RATE, "tanh")


def test_curves_and_their_difference_are_the_arrays():
    x, figure = curve_figure()
    drawn = lines(figure.axes[0])
    assert np.array_equal(drawn["target"].get_ydata(), np.tanh(x))
    assert np.array_equal(drawn["net"].get_ydata(), np.tanh(x) + 0.01 * np.cos(x))
    assert np.array_equal(drawn["net"].get_xdata(), x)
    error = figure.axes[1].lines[-1]
    assert np.allclose(error.get_ydata(), 0.01 * np.cos(x))
    assert "at most 1.0e-02" in figure.axes[1].get_title("right")
    assert figure.get_suptitle() == "tanh"


def test_stems_are_the_harmonics():
    wet = np.sin(PHASE) + 0.1 * np.sin(3 * PHASE)
    net = np.sin(PHASE) + 0.1 * np.sin(3 * PHASE) + 1e-4 * np.sin(7 * PHASE)
    _, figure = curve_figure([Tone(0.5, wet, net), Tone(2.0, 2 * wet, 2 * net)])
    assert len(figure.axes) == 4
    for axes, amplitude in zip(figure.axes[2:], ("0.5", "2"), strict=True):
        drawn = stems(axes)
        assert drawn["target"] == pytest.approx({1.0: 0.0, 3.0: -20.0}, abs=1e-6)
        assert drawn["net"] == pytest.approx({1.0: 0.0, 3.0: -20.0, 7.0: -80.0}, abs=1e-6)
        assert drawn["error"] == pytest.approx({7.0: -80.0}, abs=1e-6)
        assert axes.get_ylim()[0] == FLOOR_DB
        assert f"amplitude {amplitude}" in axes.get_title("left")


def test_taps_are_the_arrays():
    taps = np.random.default_rng(0).standard_normal(48)
    figure = plot_taps_fit(taps, 1.1 * taps, RATE, "box")
    drawn = lines(figure.axes[0])
    assert np.array_equal(drawn["target"].get_ydata(), taps)
    assert np.array_equal(drawn["net"].get_ydata(), 1.1 * taps)
    assert np.allclose(drawn["net"].get_xdata(), np.arange(48) / 48)
    assert figure.get_suptitle() == "box"


def test_magnitudes_are_those_of_scipy():
    taps = np.random.default_rng(0).standard_normal(48)
    figure = plot_taps_fit(taps, 1.1 * taps, RATE)
    drawn = lines(figure.axes[1])
    _, want = freqz(taps, worN=drawn["target"].get_xdata() * 1e3, fs=RATE)
    wanted_db = 20 * np.log10(np.abs(want))
    for label, gain in (("target", 1.0), ("net", 1.1), ("error", 0.1)):
        np.testing.assert_allclose(drawn[label].get_ydata(), wanted_db + 20 * np.log10(gain), atol=1e-6)


def test_response_is_that_of_scipy():
    taps = np.random.default_rng(1).standard_normal(33)
    cycles = np.linspace(0, 0.5, 50)
    np.testing.assert_allclose(response(taps, cycles), freqz(taps, worN=2 * np.pi * cycles)[1], atol=1e-12)


def test_axes_are_labelled_with_units():
    _, curve = curve_figure([Tone(1.0, np.sin(PHASE), np.sin(PHASE))])
    taps = plot_taps_fit(np.ones(48), np.ones(48), RATE)
    labels = {
        text for figure in (curve, taps) for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel())
    }
    assert {"x", "y", "frequency (kHz)", "level (dB)", "gain (dB)", "time (ms)", "amplitude"} <= labels


@pytest.mark.parametrize(("case", "rate"), [("silent", 8000), ("equal", 192_000), ("nan", 48_000), ("one", 20)])
def test_odd_fits_are_drawn_all_the_same(case, rate):
    target = np.zeros(1) if case == "one" else np.sin(PHASE) * (case != "silent")
    prediction = target + (case == "silent")
    if case == "nan":
        prediction[7] = np.nan
    x = np.arange(len(target)) - 0.5
    figures = [
        plot_taps_fit(target, prediction, rate),
        plot_curve_fit(x, target, prediction, [Tone(1.0, target, prediction)], rate),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="png", dpi=30)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("a", "b"), [(np.ones(3), np.ones(4)), (np.ones(0), np.ones(0)), (np.ones((2, 3)), np.ones((2, 3)))]
)
def test_arrays_that_do_not_belong_together_are_refused(a, b):
    with pytest.raises(ValueError, match=r"arrays of one length above 0"):
        plot_taps_fit(a, b, RATE)
    with pytest.raises(ValueError, match=r"arrays of one length above 0"):
        plot_curve_fit(a, a, b, [], RATE)
