"""The picture of a recording shows what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from nablafx.plots.inspection import Correlation, Wave, plot_inspection

WAVE = Wave("a.wav", np.full(100, -0.5), np.full(100, 0.25), 4.0)


@pytest.mark.parametrize("dark", [False, True])
def test_waves_delays_and_correlation_are_drawn(dark):
    lags = np.linspace(-10, 10, 41)
    correlation = Correlation(lags, np.exp(-((lags - 2) ** 2)), 2.0)
    figure = plot_inspection("title", [WAVE, WAVE], [1.0, 3.5], [(0.5, 7.0), (3.0, 9.0)], correlation, dark)
    dry, wet, track, peaks = figure.axes
    assert not dry.lines
    np.testing.assert_array_equal(wet.lines[0].get_xdata(), [1.0, 3.5])
    np.testing.assert_array_equal(track.lines[0].get_xydata(), [(0.5, 7.0), (3.0, 9.0)])
    line, _, delay = peaks.lines
    assert line.get_xdata()[line.get_ydata().argmax()] == pytest.approx(delay.get_xdata()[0])
    low, high = wet.collections[0].get_datalim(wet.transData).intervaly
    assert (low, high) == (-0.5, 0.25)


def test_a_file_by_itself_has_its_wave_alone():
    figure = plot_inspection("title", [WAVE])
    assert len(figure.axes) == 1
    assert figure.axes[0].get_xlim() == (0.0, 4.0)


def test_what_is_not_known_is_said():
    flat = Correlation(np.linspace(-1, 1, 9), np.zeros(9), None)
    figure = plot_inspection("title", [WAVE], (), (), flat)
    assert figure.axes[1].texts[0].get_text() == "the delay could not be followed"
