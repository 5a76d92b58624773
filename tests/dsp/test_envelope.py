"""Oracles: the equation in a plain loop, scipy's one pole where both poles are the same, and limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from nablafx.dsp import units
from nablafx.dsp.filtering import envelope

from .sections import cut, relative


def loop(x: np.ndarray, attack: np.ndarray, release: np.ndarray, e: np.ndarray, sets: list[int]) -> np.ndarray:
    """x (B, C, T), poles (B or 1, N), e (B, C), and which set governs each sample."""
    outputs = []
    for n, i in enumerate(sets):
        p = np.where(x[..., n] > e, attack[:, i, None], release[:, i, None])
        e = p * e + (1 - p) * x[..., n]
        outputs.append(e)
    return np.stack(outputs, axis=-1)


def case(batch: int, sets: int, length: int = 300, dtype=torch.float64) -> tuple[torch.Tensor, ...]:
    """x, attack, release and zi."""
    generator = torch.Generator().manual_seed(sets)
    x = torch.randn(3, 2, length, generator=generator, dtype=torch.float64).to(dtype)
    attack, release = torch.rand(2, batch, sets, generator=generator, dtype=torch.float64)
    return x, attack, release, torch.randn(3, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("block", "offset"), [(300, 0), (1, 0), (7, 3), (100, 37)])
def test_envelope_is_that_of_a_plain_loop(block, offset, batch, dtype, tolerance):
    x, attack, release, zi = case(batch, -(-(300 + offset) // block), dtype=dtype)
    e, last = envelope(x, attack, release, zi, block, offset)
    sets = [(n + offset) // block for n in range(300)]
    expected = loop(x.double().numpy(), attack.numpy(), release.numpy(), zi.numpy(), sets)
    assert e.dtype == dtype
    assert last.dtype == torch.float64
    assert relative(e, expected) < tolerance
    assert relative(last, expected[..., -1]) < 1e-12


def test_sets_share_the_audio_evenly_by_default():
    x, attack, release, _ = case(1, 4, 303)
    e, _ = envelope(x, attack, release)
    expected = loop(x.numpy(), attack.numpy(), release.numpy(), np.zeros((3, 2)), [n // 76 for n in range(303)])
    assert relative(e, expected) < 1e-12


def test_one_pole_for_both_is_scipys():
    x, pole, _, zi = case(1, 1, 5000)
    p = pole.item()
    expected, _ = signal.lfilter([1 - p], [1, -p], x, zi=p * zi.unsqueeze(-1))
    assert relative(envelope(x, pole, pole, zi)[0], expected) < 1e-12


def test_a_step_is_covered_to_one_minus_1_over_e_in_the_times_given():
    """10 ms up, 100 ms down."""
    sample_rate = 48_000
    times_ms = torch.tensor([[[10.0]], [[100.0]]], dtype=torch.float64)
    attack, release = units.pole(times_ms, sample_rate)
    x = torch.cat([torch.ones(1, 1, sample_rate), torch.zeros(1, 1, sample_rate)], dim=-1)
    e, _ = envelope(x, attack, release)
    assert e[0, 0, 479].item() == pytest.approx(1 - np.exp(-1), rel=1e-6)
    assert e[0, 0, sample_rate + 4799].item() == pytest.approx(np.exp(-1), rel=1e-6)


def test_a_pole_of_zero_follows_at_once():
    """Upwards as an attack, downwards as a release; one pole may stand beside many."""
    x, attack, release, zi = case(3, 300)
    zero = torch.zeros(1, 1)
    for up, poles in ((True, (zero, release)), (False, (attack, zero))):
        e, _ = envelope(x, *poles, zi)
        rises = x > torch.cat([zi.unsqueeze(-1), e[..., :-1]], dim=-1)
        assert torch.equal(e[rises == up], x[rises == up])
        assert not torch.isclose(e[rises != up], x[rises != up]).all()


def test_pieces_give_what_the_whole_gives():
    """Cut within blocks, after one sample and at an edge; to the bit, as the same loop runs."""
    block = 50
    x, attack, release, zi = case(3, 6, dtype=torch.float32)
    whole, end = envelope(x, attack, release, zi, block)
    outputs = []
    for start, stop in cut(300, 1, 20, 49, 50, 100, 233):
        sets = slice(start // block, (stop - 1) // block + 1)
        e, zi = envelope(x[..., start:stop], attack[:, sets], release[:, sets], zi, block, start % block)
        outputs.append(e)
    assert torch.equal(torch.cat(outputs, dim=-1), whole)
    assert torch.equal(zi, end)


def test_what_does_not_fit_is_told():
    x, pole = torch.zeros(3, 1, 300), torch.zeros(1, 1)
    for wrong in ((x[0], pole, pole), (x, pole[0], pole), (x, pole.expand(2, 1), pole)):
        with pytest.raises(ValueError, match=r"envelope: needs x \(B, C, T\), attack and release \(B or 1, N\), got"):
            envelope(*wrong)
    with pytest.raises(ValueError, match=r"got \(3, 1, 300\), \(1, 2\) and \(1, 3\)"):
        envelope(x, torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"envelope: 3 sets .* of which 37 lie before; needs 1 or 4"):
        envelope(x, torch.zeros(1, 3), torch.zeros(1, 3), None, 100, 37)
    with pytest.raises(ValueError, match=r"envelope: zi must have shape \(3, 1\), got \(1, 1\)"):
        envelope(x, pole, pole, torch.zeros(1, 1))
    with pytest.raises(ValueError, match="envelope: block must be at least 1"):
        envelope(x, pole, pole, None, 0)
