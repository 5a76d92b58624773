"""Lines of the figures are the arrays that were given."""

from __future__ import annotations

import numpy as np
import pytest

from nablafx.plots import (
    StageView,
    plot_distortion,
    plot_gain_trace,
    plot_history,
    plot_loop,
    plot_response,
    plot_stages,
)
from nablafx.plots.stages import told

FREQS = np.geomspace(20, 20_000, 50)


def lines(axes):
    return {line.get_label(): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.get_lines()}


@pytest.mark.parametrize("dark", [False, True])
def test_a_response_shows_identity_at_0_and_inversion_at_180(dark):
    response = np.stack([np.ones(50), -0.5 * np.ones(50)]).astype(complex)
    magnitude, phase = plot_response(FREQS, (-40.0, -6.0), response, dark=dark).axes
    np.testing.assert_allclose(lines(magnitude)["-40 dBFS"][1], 0, atol=1e-9)
    np.testing.assert_allclose(lines(magnitude)["-6 dBFS"][1], 20 * np.log10(0.5))
    shown = [line.get_ydata() for line in phase.get_lines()]
    np.testing.assert_allclose(shown[0], 0)
    np.testing.assert_allclose(np.abs(shown[1]), 180)
    assert phase.get_ylim()[0] < -180 < 180 < phase.get_ylim()[1]
    with pytest.raises(ValueError, match="it needs"):
        plot_response(FREQS, (-40.0,), response)


def test_a_phase_that_goes_round_is_broken_there():
    delay = np.exp(-2j * np.pi * FREQS * 0.001)[None]
    phase = plot_response(FREQS, (-6.0,), delay).axes[1].get_lines()[0].get_ydata()
    drawn = np.abs(np.diff(phase))
    assert np.nanmax(drawn) <= 180


def test_distortion_is_in_decibels_under_the_fundamental():
    parts = {"odd": np.full(50, 1e-3), "even": np.full(50, 1e-6), "inharmonic": np.zeros(50)}
    (axes,) = plot_distortion(FREQS, parts, -12).axes
    shown = lines(axes)
    np.testing.assert_allclose(shown["odd"][1], -30)
    np.testing.assert_allclose(shown["even"][1], -60)
    np.testing.assert_allclose(shown["inharmonic"][1], -120)


def test_a_loop_is_closed():
    x = np.sin(np.arange(8))
    (axes,) = plot_loop(x, 2 * x, 110.0).axes
    drawn = axes.get_lines()[-1]
    np.testing.assert_array_equal(drawn.get_xdata(), [*x, x[0]])
    np.testing.assert_array_equal(drawn.get_ydata(), [*2 * x, 2 * x[0]])


def test_gains_lie_under_the_audio():
    times = np.array([0.01, 0.03])
    figure = plot_gain_trace(
        times, {"target": np.array([0, -6.0]), "prediction": np.array([0, -5.0])}, np.zeros(1920), 48_000
    )
    shown = lines(figure.axes[1])
    np.testing.assert_array_equal(shown["prediction"][1], [0, -5])
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim() == (0.0, 0.04)


def test_training_curves():
    history = {
        "loss/train/total": [(1, 1.0), (2, 0.1)],
        "loss/val/total": [(2, 0.2)],
        "metrics/val/esr": [(2, 0.05)],
        "lr-AdamW": [(1, 0.01), (2, 0.01)],
    }
    loss, metrics, rate = plot_history(history).axes
    assert (loss.get_yscale(), rate.get_yscale()) == ("log", "linear")
    np.testing.assert_array_equal(lines(loss)["training"][1], [1.0, 0.1])
    np.testing.assert_array_equal(lines(metrics)["esr"], ([2], [0.05]))
    with pytest.raises(ValueError, match="there is no loss"):
        plot_history({"lr": [(1, 0.1)]})


def test_a_stage_shows_its_response_and_what_moves():
    moving = StageView(
        "eq",
        "Peaking",
        np.zeros(512),
        {"gain_db": np.array([-6.0, 0.0, 6.0, 0.0]), "q": np.array([0.7])},
        128,
        FREQS,
        10 ** (np.array([-6.0, 0.0, 6.0, 0.0]) / 20)[:, None] * np.ones((4, 50)),
    )
    curve = StageView(
        "bend", "TanhNonlinearity", np.zeros(512), {}, levels=np.array([-1.0, 1.0]), curve=np.array([-0.5, 0.5])
    )
    figure = plot_stages([moving, curve], 48_000)
    axes = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    np.testing.assert_allclose(axes["eq: Peaking"].get_lines()[0].get_ydata(), 0, atol=1e-9)  # the median
    (band,) = axes["eq: Peaking"].collections
    assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(-6)
    np.testing.assert_array_equal(axes["bend: TanhNonlinearity"].get_lines()[0].get_ydata(), [-0.5, 0.5])
    (right,) = [ax for ax in figure.axes if ax.get_lines() and ax.get_lines()[0].get_label() == "gain_db"]
    np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), [-6, 0, 6, 0])
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["gain -6 dB … 6 dB\nq 0.7", "no parameters"]
    with pytest.raises(ValueError, match="got no stages"):
        plot_stages([], 48_000)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cutoff_hz", 1250.4, "cutoff 1,250 Hz"),
        ("low_shelf_gain_db", -3.456, "low shelf gain -3.46 dB"),
        ("shift_deg", 90, "shift 90°"),
        ("attack_ms", 0.5, "attack 0.5 ms"),
        ("q", 0.7, "q 0.7"),
    ],
)
def test_parameters_have_their_units(name, value, text):
    assert told(name, value) == text
