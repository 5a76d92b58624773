"""Oracles: scipy.signal, and the difference equations in a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from nablafx.dsp import biquad
from nablafx.dsp.filtering import sosfilt, sosfilt_zi, svfilt, svfilt_zi

from .sections import cut, drawn, relative, transposed_loop

FILTERS = {"sosfilt": (sosfilt, sosfilt_zi), "svfilt": (svfilt, svfilt_zi)}
SAMPLE_RATE = 48_000


def noise(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_sosfilt_is_scipys(count, dtype, tolerance):
    x, sos, zi = noise(2, 3, 400, dtype=dtype), drawn(1, 1, count, seed=count), noise(2, 3, count, 2, seed=1)
    y, zf = sosfilt(x, sos, zi)
    expected, after = signal.sosfilt(sos[0, 0], x.double(), zi=zi.permute(2, 0, 1, 3))
    assert y.dtype == dtype
    assert zf.dtype == torch.float64
    assert relative(y, expected) < tolerance
    assert relative(zf, after.transpose(1, 2, 0, 3)) < 1e-12


def test_no_state_is_a_state_of_zeros():
    x, sos = noise(2, 1, 50), drawn(1, 1, 2)
    expected = signal.sosfilt(sos[0, 0], x)
    assert relative(sosfilt(x, sos)[0], expected) < 1e-12
    assert relative(svfilt(x, sos)[0], expected) < 1e-12


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("length", "block", "offset"), [(300, 1, 0), (300, 7, 3), (300, 100, 37), (300, 128, 127)])
def test_sections_that_change_are_those_of_a_plain_loop(length, block, offset, batch):
    sets = -(-(length + offset) // block)
    x, sos, zi = noise(3, 2, length), drawn(batch, sets, 2), noise(3, 2, 2, 2, seed=1)
    of_samples = [sos[:, (n + offset) // block].numpy() for n in range(length)]
    expected, after = transposed_loop(x.numpy(), of_samples, zi.numpy())
    y, zf = sosfilt(x, sos, zi, block, offset)
    assert relative(y, expected) < 1e-12
    assert relative(zf, after) < 1e-12


@pytest.mark.parametrize(("length", "sets", "block"), [(300, 300, 1), (300, 3, 100), (301, 3, 101), (5, 2, 3)])
def test_sets_share_the_audio_evenly_by_default(length, sets, block):
    x, sos = noise(1, 1, length), drawn(1, sets, 1)
    expected, _ = transposed_loop(
        x.numpy(), [sos[:, n // block].numpy() for n in range(length)], np.zeros((1, 1, 1, 2))
    )
    assert relative(sosfilt(x, sos)[0], expected) < 1e-12


@pytest.mark.parametrize("name", FILTERS)
def test_items_have_their_own_sections_or_share_one(name):
    run, _ = FILTERS[name]
    x, sos = noise(3, 2, 200), drawn(3, 1, 2)
    expected = np.stack([signal.sosfilt(sos[i, 0], x[i]) for i in range(3)])
    assert relative(run(x, sos)[0], expected) < 1e-11
    assert relative(run(x, sos[:1])[0], signal.sosfilt(sos[0, 0], x)) < 1e-11


@pytest.mark.parametrize("name", FILTERS)
def test_pieces_give_what_the_whole_gives(name):
    """Cut within blocks, after one sample, and at an edge; to the bit, as the same loop runs."""
    run, _ = FILTERS[name]
    length, block = 600, 50
    x, sos = noise(2, 1, length, dtype=torch.float32), drawn(2, length // block, 2)
    whole, end = run(x, sos, block=block)
    zi, outputs = None, []
    for start, stop in cut(length, 1, 20, 49, 50, 100, 333, 470):
        sets = sos[:, start // block : (stop - 1) // block + 1]
        y, zi = run(x[..., start:stop], sets, zi, block, start % block)
        outputs.append(y)
    assert torch.equal(torch.cat(outputs, dim=-1), whole)
    assert torch.equal(zi, end)


def test_the_state_at_rest_is_scipys():
    sos = drawn(3, 1, 4)
    x = noise(3, 2, 1)
    y, zi = sosfilt_zi(x, sos)
    for i in range(3):
        for c in range(2):
            assert relative(zi[i, c], signal.sosfilt_zi(sos[i, 0]) * x[i, c].item()) < 1e-11
    gains = (sos[:, 0, :, :3].sum(-1) / sos[:, 0, :, 3:].sum(-1)).prod(-1)
    assert relative(y, x * gains.view(3, 1, 1)) < 1e-11


@pytest.mark.parametrize("name", FILTERS)
def test_the_state_at_rest_is_what_a_constant_leaves(name):
    run, rest = FILTERS[name]
    for sos in (drawn(3, 1, 4), drawn(1, 1, 3)):
        x = noise(3, 2, 1)
        y, zi = rest(x, sos)
        held, zf = run(x.expand(-1, -1, 300), sos, zi)
        assert relative(held, y.expand(-1, -1, 300)) < 1e-11
        assert relative(zf, zi) < 1e-11
        limit, after = run(x.expand(-1, -1, 3000), sos)
        assert relative(limit[..., -1:], y) < 1e-9
        assert relative(after, zi) < 1e-9
        assert rest(x.float(), sos)[0].dtype == torch.float32


@pytest.mark.parametrize("name", FILTERS)
def test_low_frequencies_in_pieces_of_float32(name):
    """A bell of Q 10 at 20 Hz over three seconds; all in float32 misses by a thousandth, the state alone by 1e-5."""
    run, _ = FILTERS[name]
    sos = biquad.peaking(12.0, 20.0, 10.0, SAMPLE_RATE).view(1, 1, 1, 6)
    x = noise(1, 1, 144_000, dtype=torch.float32)
    expected = signal.sosfilt(sos[0, 0], x.double())
    zi, outputs = None, []
    for piece in x.split(480, dim=-1):
        y, zi = run(piece, sos, zi)
        outputs.append(y)
    assert relative(torch.cat(outputs, dim=-1), expected) < 1e-6


@pytest.mark.parametrize("name", FILTERS)
def test_what_does_not_fit_is_told(name):
    run, _ = FILTERS[name]
    x, sos = torch.zeros(2, 1, 300), drawn(2, 3, 2)
    with pytest.raises(ValueError, match=rf"{name}: needs x \(B, C, T\).*got \(2, 300\) and \(2, 3, 2, 6\)"):
        run(x[:, 0], sos)
    for wrong in (sos[0], sos[..., :5], sos.repeat(2, 1, 1, 1)):
        with pytest.raises(ValueError, match=rf"{name}: needs .* sections \(B or 1, N, K, 6\), got"):
            run(x, wrong)
    with pytest.raises(ValueError, match=rf"{name}: 3 sets .* 300 samples in blocks of 50, .* needs 1 or 6"):
        run(x, sos, block=50)
    with pytest.raises(ValueError, match=rf"{name}: 3 sets .* of which 37 lie before; needs 1 or 4"):
        run(x, sos, block=100, offset=37)
    with pytest.raises(ValueError, match=rf"{name}: zi must have shape \(2, 1, 2, 2\), got \(2, 1, 3, 2\)"):
        run(x, sos, torch.zeros(2, 1, 3, 2))
    for block, offset in ((0, 0), (100, -1)):
        with pytest.raises(ValueError, match=f"{name}: block must be at least 1 .* got {block} and {offset}"):
            run(x, sos, None, block, offset)
