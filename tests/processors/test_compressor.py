"""The compressor against a plain loop in numpy, and its curve against the textbook's three pieces."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import butter, lfilter

from nablafx.layers.held import Held
from nablafx.processors import Compressor, SidechainCompressor

FIXED = {"threshold_db": -30.0, "ratio": 4.0, "knee_db": 10.0, "attack_ms": 2.0, "release_ms": 50.0, "makeup_db": 6.0}


def reduction(level_db: float, threshold_db: float, ratio: float, knee_db: float) -> float:
    over = level_db - threshold_db
    if 2 * over < -knee_db:
        return 0.0
    if 2 * over <= knee_db:
        return (1 - 1 / ratio) * (over + knee_db / 2) ** 2 / (2 * knee_db)
    return (1 - 1 / ratio) * over


def test_against_a_loop():
    rate = 48_000
    rng = np.random.default_rng(0)
    x = rng.normal(size=6000) * np.repeat([0.01, 0.8, 0.05, 0.3], 1500)
    attack, release = (np.exp(-1 / (0.001 * FIXED[name] * rate)) for name in ("attack_ms", "release_ms"))
    e, expected = 0.0, np.empty_like(x)
    for n, sample in enumerate(x):
        level = 10 * np.log10(sample**2 + 1e-12)
        r = reduction(level, FIXED["threshold_db"], FIXED["ratio"], FIXED["knee_db"])
        pole = attack if r > e else release
        e = pole * e + (1 - pole) * r
        expected[n] = sample * 10 ** ((FIXED["makeup_db"] - e) / 20)
    y, state = Compressor(rate, **FIXED)(torch.from_numpy(x).view(1, 1, -1))
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-9, atol=1e-12)
    assert abs(state.item() - e) < 1e-9


def test_curve_has_a_knee_between_two_straight_lines():
    levels_db = np.linspace(-80, 0, 161)
    told = Compressor(**FIXED).curve(torch.from_numpy(10 ** (levels_db / 20)), **_values(Compressor(**FIXED)))
    gain_db = 20 * np.log10(told[0, 0].numpy()) - levels_db
    curve = (FIXED["threshold_db"], FIXED["ratio"], FIXED["knee_db"])
    np.testing.assert_allclose(gain_db, [FIXED["makeup_db"] - reduction(v, *curve) for v in levels_db], atol=1e-4)


def test_a_hard_knee_is_finite_and_has_a_gradient():
    compressor = Compressor(knee_db=(0.0, 24.0))
    u = torch.full((1, 6, 1), 0.5)
    u[:, 2] = 0
    u.requires_grad_()
    x = torch.zeros(1, 1, 100)
    x[..., 50:] = 0.5
    x.requires_grad_()
    compressor(x, u)[0].square().sum().backward()
    assert u.grad.isfinite().all()
    assert x.grad.isfinite().all()


def test_attack_is_the_time_to_63_percent():
    """A step far over the threshold: the gain reduction has covered 1 - 1/e of its way after the attack time."""
    compressor = Compressor(**{**FIXED, "knee_db": 0.0, "makeup_db": 0.0, "attack_ms": 10.0})
    y, _ = compressor(torch.ones(1, 1, 9600, dtype=torch.float64))
    reduced_db = -20 * torch.log10(y[0, 0])
    assert abs(reduced_db[-1].item() - 22.5) < 1e-3
    assert abs(reduced_db[479].item() / 22.5 - (1 - np.exp(-1))) < 1e-3


def _values(compressor: Compressor) -> dict[str, torch.Tensor]:
    return {name: held.values[:, 0] for name, held in compressor.denormalise(None).items()}


def test_dynamic_threshold():
    """The halves of one run are those of two static compressors, the second from the state that the first left."""
    x = torch.randn(1, 1, 2000, dtype=torch.float64)
    free = {**FIXED, "threshold_db": (-60.0, 0.0)}
    y, _ = Compressor(**free)(x, Held(torch.tensor([[[0.2, 0.8]]], dtype=torch.float64), 1000))
    first, state = Compressor(**{**FIXED, "threshold_db": -48.0})(x[..., :1000])
    second, _ = Compressor(**{**FIXED, "threshold_db": -12.0})(x[..., 1000:], state=state)
    torch.testing.assert_close(y, torch.cat([first, second], -1), rtol=1e-9, atol=1e-9)


def test_side_chain_against_a_loop():
    rate = 48_000
    x = np.random.default_rng(1).normal(size=3000) * np.repeat([0.01, 0.8, 0.05], 1000)
    times = {**FIXED, "detector_ms": 5.0}
    attack, release, mean = (
        np.exp(-1 / (0.001 * times[name] * rate)) for name in ("attack_ms", "release_ms", "detector_ms")
    )
    v = butter_highpass(x, 200.0, rate)
    e, power, expected = 0.0, 0.0, np.empty_like(x)
    for n, sample in enumerate(x):
        power = mean * power + (1 - mean) * v[n] ** 2
        r = reduction(10 * np.log10(power + 1e-12), FIXED["threshold_db"], FIXED["ratio"], FIXED["knee_db"])
        pole = attack if r > e else release
        e = pole * e + (1 - pole) * r
        expected[n] = sample * 10 ** ((FIXED["makeup_db"] - e) / 20)
    compressor = SidechainCompressor(rate, **times, sidechain_cutoff_hz=200.0)
    y, _ = compressor(torch.from_numpy(x).view(1, 1, -1))
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-8, atol=1e-12)


def butter_highpass(x, cutoff_hz, rate):
    return lfilter(*butter(1, cutoff_hz, "highpass", fs=rate), x)


def test_guess_reads_the_static_curve():
    """Of bursts at levels 1 dB apart through a slow compressor: threshold within 3 dB, slope and make-up gain near."""
    rng = np.random.default_rng(0)
    levels = 10 ** (np.repeat(rng.permutation(np.arange(-55, 0)), 4800) / 20)
    x = torch.from_numpy(levels * np.sin(2 * np.pi * 1000 * np.arange(len(levels)) / 48_000)).view(1, 1, -1)
    y, _ = Compressor(**{**FIXED, "attack_ms": 0.2, "release_ms": 40.0})(x)
    found = Compressor().guess(x, y)
    assert abs(found["threshold_db"] + 30) < 5
    assert 3 < found["ratio"] < 5.5
    assert abs(found["makeup_db"] - 6) < 2
    assert Compressor().guess(x * 0, y) == {}
