"""Oracles: the cookbook's printed coefficients, scipy's bilinear transform of its prototypes, properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import bilinear, freqs, sosfreqz

from nablafx.dsp import biquad

SAMPLE_RATE = 48_000
SHELVING = ["peaking", "lowshelf", "highshelf"]
PASSING = ["lowpass", "highpass"]
CASES = [(12.0, 1000.0, 0.7), (-24.0, 20.0, 0.1), (24.0, 20.0, 10.0), (-7.0, 9000.0, 3.0), (18.0, 23_000.0, 0.3)]


def design(kind: str, gain_db, cutoff_hz, q, sample_rate: float = SAMPLE_RATE) -> torch.Tensor:
    gain = (gain_db,) if kind in SHELVING else ()
    return getattr(biquad, kind)(*gain, cutoff_hz, q, sample_rate)


def printed(kind: str, gain_db: float, cutoff_hz: float, q: float) -> np.ndarray:
    """The coefficients b0 b1 b2 a0 a1 a2 as the cookbook prints them."""
    A, w = 10 ** (gain_db / 40), 2 * np.pi * cutoff_hz / SAMPLE_RATE
    cos, alpha = np.cos(w), np.sin(w) / (2 * q)
    root, up, down = 2 * np.sqrt(A) * alpha, A + 1, A - 1
    table = {
        "lowpass": [(1 - cos) / 2, 1 - cos, (1 - cos) / 2, 1 + alpha, -2 * cos, 1 - alpha],
        "highpass": [(1 + cos) / 2, -(1 + cos), (1 + cos) / 2, 1 + alpha, -2 * cos, 1 - alpha],
        "peaking": [1 + alpha * A, -2 * cos, 1 - alpha * A, 1 + alpha / A, -2 * cos, 1 - alpha / A],
        "lowshelf": [
            *(A * (up - down * cos + root), 2 * A * (down - up * cos), A * (up - down * cos - root)),
            *(up + down * cos + root, -2 * (down + up * cos), up + down * cos - root),
        ],
        "highshelf": [
            *(A * (up + down * cos + root), -2 * A * (down + up * cos), A * (up + down * cos - root)),
            *(up - down * cos + root, 2 * (down - up * cos), up - down * cos - root),
        ],
    }
    return np.array(table[kind]) / table[kind][3]


def prototype(kind: str, gain_db: float, q: float) -> tuple[list[float], list[float]]:
    """Numerator and denominator of the cookbook's H(s), highest power first."""
    A = 10 ** (gain_db / 40)
    root = A**0.5 / q
    return {
        "lowpass": ([0.0, 0.0, 1.0], [1.0, 1 / q, 1.0]),
        "highpass": ([1.0, 0.0, 0.0], [1.0, 1 / q, 1.0]),
        "peaking": ([1.0, A / q, 1.0], [1.0, 1 / (A * q), 1.0]),
        "lowshelf": ([A, A * root, A * A], [A, root, 1.0]),
        "highshelf": ([A * A, A * root, A], [1.0, root, A]),
    }[kind]


def response(sos: torch.Tensor, freqs_hz) -> np.ndarray:
    return sosfreqz(sos.reshape(-1, 6).numpy(), worN=np.atleast_1d(freqs_hz), fs=SAMPLE_RATE)[1]


def level_db(sos: torch.Tensor, freq_hz: float) -> float:
    return float(20 * np.log10(np.abs(response(sos, freq_hz)[0]) + 1e-12))


def sweep(count: int = 20_000, cutoff_hz=(20, SAMPLE_RATE / 2)) -> tuple[torch.Tensor, ...]:
    rng = np.random.default_rng(0)
    gain_db = rng.uniform(-24, 24, count)
    cutoff, q = (np.exp(rng.uniform(*np.log(edges), count)) for edges in (cutoff_hz, (0.1, 10)))
    return tuple(torch.from_numpy(v) for v in (gain_db, cutoff, q))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", SHELVING + PASSING)
def test_coefficients_are_the_printed_ones(kind, case):
    np.testing.assert_allclose(design(kind, *case), printed(kind, *case), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", SHELVING + PASSING)
def test_coefficients_are_scipys_bilinear_transform_of_the_prototype(kind, case):
    gain_db, cutoff_hz, q = case
    corner = np.tan(np.pi * cutoff_hz / SAMPLE_RATE)
    numerator, denominator = (np.array(p) / corner ** np.array([2, 1, 0]) for p in prototype(kind, gain_db, q))
    b, a = bilinear(numerator, denominator, fs=0.5)
    np.testing.assert_allclose(design(kind, *case), np.concatenate([b, a]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", SHELVING + PASSING)
def test_the_response_is_the_prototypes_at_the_warped_frequency(kind):
    """Wherever the cut-off lies, also four octaves around 20 Hz and next to half the sample rate."""
    for gain_db, cutoff_hz, q in zip(*(v.tolist() for v in sweep(200, (20, 23_520))), strict=True):
        freqs_hz = np.geomspace(cutoff_hz / 4, min(cutoff_hz * 4, 23_900), 50)
        warped = np.tan(np.pi * freqs_hz / SAMPLE_RATE) / np.tan(np.pi * cutoff_hz / SAMPLE_RATE)
        _, expected = freqs(*prototype(kind, gain_db, q), worN=warped)
        found = response(design(kind, gain_db, cutoff_hz, q), freqs_hz)
        np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_no_digits_are_lost_at_20_hz():
    """(1 - cos w) / 2 by its series; formed by subtraction, five digits would be wrong."""
    w, q = 2 * np.pi * 20 / SAMPLE_RATE, 0.7
    exact = (w**2 / 2 - w**4 / 24 + w**6 / 720) / 2 / (1 + np.sin(w) / (2 * q))
    assert biquad.lowpass(20, q, SAMPLE_RATE)[0].item() == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize("gain_db", [-24.0, -3.0, 6.0, 24.0])
def test_what_a_gain_does_and_where(gain_db):
    dc, centre, end = 0.0, 1000.0, SAMPLE_RATE / 2
    expected = {
        "peaking": (0, gain_db, 0),
        "lowshelf": (gain_db, gain_db / 2, 0),
        "highshelf": (0, gain_db / 2, gain_db),
    }
    for kind, levels in expected.items():
        sos = design(kind, gain_db, centre, 0.9)
        assert [level_db(sos, f) for f in (dc, centre, end)] == pytest.approx(levels, abs=1e-6), kind


def test_a_high_shelf_boosts_highs_and_leaves_lows():
    sos = biquad.highshelf(12.0, 4000.0, 0.707, SAMPLE_RATE)
    assert level_db(sos, 100) == pytest.approx(0, abs=0.01)
    assert level_db(sos, 20_000) == pytest.approx(12, abs=0.05)


@pytest.mark.parametrize("q", [0.1, 0.707, 10.0])
def test_the_amplitude_at_the_cut_off_is_q(q):
    for kind, passed, stopped in (("lowpass", 0.0, SAMPLE_RATE / 2), ("highpass", SAMPLE_RATE / 2, 0.0)):
        sos = design(kind, None, 700.0, q)
        assert np.abs(response(sos, 700.0)[0]) == pytest.approx(q, rel=1e-9)
        assert np.abs(response(sos, passed)[0]) == pytest.approx(1, rel=1e-9)
        assert np.abs(response(sos, stopped)[0]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", SHELVING + PASSING)
def test_poles_lie_inside_the_unit_circle_over_the_whole_range(kind):
    sos = design(kind, *sweep())
    assert sos.shape == (20_000, 6)
    a1, a2 = sos[:, 4], sos[:, 5]
    # the triangle of stability, and the poles themselves
    assert (a2 < 1).all()
    assert (a1.abs() < 1 + a2).all()
    discriminant = torch.sqrt((a1.square() - 4 * a2).to(torch.complex128))
    assert max(((-a1 + sign * discriminant) / 2).abs().max().item() for sign in (1, -1)) < 1
    assert (sos[:, 3] == 1).all()


@pytest.mark.parametrize("kind", SHELVING + PASSING)
def test_cut_offs_stay_under_half_the_sample_rate(kind):
    highest = design(kind, 6.0, biquad.MAX_CUTOFF * 32_000, 0.7, 32_000)
    for cutoff_hz in (16_000.0, 24_000.0, 1e9):
        assert torch.equal(design(kind, 6.0, cutoff_hz, 0.7, 32_000), highest)


def test_no_gain_is_the_identity():
    for kind in SHELVING:
        sos = design(kind, 0.0, *sweep()[1:])
        torch.testing.assert_close(sos[:, :3], sos[:, 3:], rtol=0, atol=1e-15)


def test_arguments_broadcast_and_come_in_any_type():
    gain_db, cutoff_hz = torch.randn(4, 1, 3), torch.rand(5, 1) * 1000 + 20
    for kind in SHELVING:
        sos = design(kind, gain_db, cutoff_hz, 1)
        assert sos.shape == (4, 5, 3, 6)
        assert sos.dtype == torch.float64
        one = design(kind, gain_db[1, 0, 2].item(), cutoff_hz[3, 0].item(), 1.0)
        torch.testing.assert_close(sos[1, 3, 2], one, rtol=1e-14, atol=1e-14)
    for kind in PASSING:
        assert design(kind, None, cutoff_hz, torch.ones(2)).shape == (5, 2, 6)
        assert design(kind, None, 100, 1).shape == (6,)


def test_a_cascade_keeps_the_order_and_multiplies_the_responses():
    one, two = biquad.peaking(torch.tensor([3.0, -3.0]), 500, 1, SAMPLE_RATE), biquad.lowpass(900, 0.7, SAMPLE_RATE)
    sos = biquad.cascade(one, two)
    assert sos.shape == (2, 2, 6)
    assert torch.equal(sos[:, 0], one)
    assert torch.equal(sos[1, 1], two)
    np.testing.assert_allclose(response(sos[1], 600), response(one[1], 600) * response(two, 600), rtol=1e-12)


@pytest.mark.parametrize("kind", SHELVING + PASSING)
def test_gradients_equal_finite_differences(kind):
    gain_db = torch.tensor([[-12.0], [0.0]], dtype=torch.float64, requires_grad=True)
    # in kHz: a finite difference of 1e-6 Hz would be lost in rounding
    cutoff_khz = torch.tensor([0.02, 3.0, 21.0], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.2, 1.0, 8.0], dtype=torch.float64, requires_grad=True)
    inputs = (gain_db, cutoff_khz, q) if kind in SHELVING else (cutoff_khz, q)
    assert torch.autograd.gradcheck(
        lambda *given: getattr(biquad, kind)(*given[:-2], 1000 * given[-2], given[-1], SAMPLE_RATE), inputs
    )
