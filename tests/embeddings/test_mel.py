"""Mel filters against formulas, spectrograms against scipy, and the embedding that needs no weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from nablafx.embeddings import MelStatistics, resampled
from nablafx.embeddings.spectra import hz_to_mel, magnitudes, mel_filters, mel_to_hz, powers
from tests.embeddings.made import audio


def test_scales_are_their_formulas():
    hz = torch.tensor([0.0, 200.0, 1000.0, 6400.0], dtype=torch.float64)
    expected = [2595.0 * math.log10(1.0 + f / 700.0) for f in hz.tolist()]
    torch.testing.assert_close(hz_to_mel(hz, "htk"), torch.tensor(expected, dtype=torch.float64), rtol=2e-5, atol=0)
    expected = torch.tensor([0.0, 3.0, 15.0, 42.0], dtype=torch.float64)
    torch.testing.assert_close(hz_to_mel(hz, "slaney"), expected)
    for scale in ("htk", "slaney"):
        torch.testing.assert_close(mel_to_hz(hz_to_mel(hz, scale), scale), hz)


def test_htk_filters_add_up_to_one_between_their_centres():
    filters = mel_filters(16_000, 512, 20, 100.0, 7000.0)
    edges = torch.linspace(*(1127.0 * math.log1p(f / 700.0) for f in (100.0, 7000.0)), 22)
    lines = 1127.0 * torch.log1p(torch.linspace(0.0, 8000.0, 257) / 700.0)
    inside = (lines >= edges[1]) & (lines <= edges[-2])
    torch.testing.assert_close(filters[inside].sum(dim=1), torch.ones(int(inside.sum())), rtol=0, atol=1e-5)
    assert filters[(lines < edges[0]) | (lines > edges[-1])].abs().max() == 0


def test_slaney_filters_have_the_area_of_one_hertz():
    filters = mel_filters(48_000, 16_384, 40, 50.0, 14_000.0, "slaney")
    torch.testing.assert_close(filters.sum(dim=0) * 48_000 / 16_384, torch.ones(40), rtol=0, atol=0.01)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 100.0), (200.0, 100.0), (0.0, 8001.0)])
def test_bands_out_of_range_are_told(low, high):
    with pytest.raises(ValueError, match="must lie in 0 to 8000 Hz"):
        mel_filters(16_000, 512, 20, low, high)


def test_spectra_are_those_of_scipy():
    x, taper = audio(4000), torch.hann_window(400)
    transform = scipy.signal.ShortTimeFFT(taper.numpy(), 160, 1.0, mfft=512, phase_shift=None)
    expected = np.abs(transform.stft(x[0].numpy(), p0=2, p1=20)).T
    # scipy's slice p is centred on sample 160 p, ours begins at sample 160 k
    np.testing.assert_allclose(magnitudes(x[:, 120:], taper, 512, 160)[0, :18], expected, rtol=0, atol=1e-4)
    mirrored = np.pad(x[0].numpy(), 200, mode="reflect")
    ours = powers(x, taper, 160)[0]
    theirs = magnitudes(torch.from_numpy(mirrored)[None], taper, 400, 160)[0].square()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_statistics_of_a_steady_tone_are_its_level_and_no_spread():
    tone = 0.5 * torch.sin(2 * math.pi * 1000.0 * torch.arange(96_000) / 48_000)[None]
    vectors = MelStatistics()(tone)
    assert vectors.shape == (1, 3, 96)
    means, spreads, moves = vectors[0, 1].split(32)
    band = int(means.argmax())
    centres = mel_to_hz(torch.linspace(*hz_to_mel(torch.tensor([30.0, 20_000.0]), "htk").tolist(), 34), "htk")[1:-1]
    assert abs(centres[band] - 1000.0) == (centres - 1000.0).abs().min()
    assert spreads[band] < 0.2
    assert moves[band] < 0.2
    quieter = MelStatistics()(0.1 * tone)[0, 1]
    assert float(means[band] - quieter[band]) == pytest.approx(20.0, abs=0.01)


def test_silence_and_short_audio_have_numbers_too():
    network = MelStatistics()
    assert network(torch.zeros(2, 100)).shape == (2, 1, 96)
    torch.testing.assert_close(network(torch.zeros(1, 48_000))[0, 0], torch.tensor([-100.0] * 32 + [0.0] * 64))
    short = audio(30_000)
    padded = torch.cat([short, torch.zeros(1, 18_000)], dim=1)
    assert torch.equal(network(short), network(padded))


def test_windows_are_cut_from_long_audio_one_by_one():
    network, x = MelStatistics(), torch.cat([audio(300_000), audio(300_000).flip(1)])
    vectors = network(x)
    assert vectors.shape == (2, 11, 96)
    torch.testing.assert_close(vectors[1, 5], network(x[1:, 120_000:168_000])[0, 0])
    with pytest.raises(ValueError, match=r"\(48000,\); it needs \(B, T\), at 48000 Hz"):
        network(torch.zeros(48_000))


def test_resampling_keeps_a_tone():
    def tone(rate):
        return torch.sin(2 * math.pi * 440.0 * torch.arange(rate, dtype=torch.float64) / rate).float()[None]

    ours = resampled(tone(44_100), 44_100, 16_000)
    assert ours.shape == (1, 16_000)
    torch.testing.assert_close(ours[:, 1000:-1000], tone(16_000)[:, 1000:-1000], rtol=0, atol=1e-4)
    x = tone(16_000)
    assert resampled(x, 16_000, 16_000) is x
