"""Sections that jump. Oracles: sosfilt where they stay, and the energy that trapezoidal integrators cannot make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx.dsp import biquad
from nablafx.dsp.filtering import sosfilt, state_variable_form, svfilt, transposed_direct_form

from .sections import drawn, relative

SAMPLE_RATE = 48_000


def designs(count: int, seed: int = 0) -> torch.Tensor:
    """Every design of `nablafx.dsp.biquad` in turn, over its whole range: (count, 6)."""
    rng = np.random.default_rng(seed)
    cutoff_hz, q = (torch.from_numpy(np.exp(rng.uniform(*np.log(e), count))) for e in ((20, 23_000), (0.1, 10)))
    gain_db = torch.from_numpy(rng.uniform(-24, 24, count))
    shelving = [f(gain_db, cutoff_hz, q, SAMPLE_RATE) for f in (biquad.peaking, biquad.lowshelf, biquad.highshelf)]
    passing = [f(cutoff_hz, q, SAMPLE_RATE) for f in (biquad.lowpass, biquad.highpass)]
    return torch.stack(shelving + passing)[torch.arange(count) % 5, torch.arange(count)]


def extremes() -> torch.Tensor:
    """Resonant and flat low passes from one end of the range to the other: (15, 6)."""
    grid = torch.cartesian_prod(torch.tensor([20.0, 200.0, 2000.0, 10_000.0, 23_000.0]), torch.tensor([0.1, 0.707, 10]))
    return biquad.lowpass(grid[:, 0], grid[:, 1], SAMPLE_RATE)


def worst_sequence(sections: torch.Tensor, block: int, limit: float) -> torch.Tensor:
    """For each block the section that leaves sosfilt's sums the largest, until their energy passes the limit."""
    steps = transposed_direct_form(sections)[:, :4].reshape(-1, 2, 2).numpy()
    over_block = np.linalg.matrix_power(steps, block)
    state, chosen = np.array([1.0, 0.0]), []
    while state @ state < limit and len(chosen) < 200:
        after = over_block @ state
        chosen.append(int((after**2).sum(-1).argmax()))
        state = after[chosen[-1]]
    return sections[chosen]


def energies(run, sos: torch.Tensor, zi: torch.Tensor, samples: int) -> torch.Tensor:
    """Of the state before and after each of the sections (B or 1, N, 6), held for some samples of silence."""
    state, found = zi, [zi]
    silence = torch.zeros(zi.shape[0], 1, samples, dtype=torch.float64)
    for one in sos.unbind(1):
        _, state = run(silence, one[:, None, None], state)
        found.append(state)
    return torch.stack(found).square().sum(dim=(-3, -2, -1))


@pytest.mark.parametrize("count", [1, 3])
def test_sections_that_stay_are_those_of_sosfilt(count):
    x = torch.randn(3, 2, 1000, dtype=torch.float64)
    for sos in (drawn(3, 1, count), designs(count).view(1, 1, count, 6), designs(3 * count, 1).view(3, 1, count, 6)):
        assert relative(svfilt(x, sos)[0], sosfilt(x, sos)[0]) < 1e-10


def test_a_change_to_the_same_section_changes_nothing():
    sos = designs(1, 3).view(1, 1, 1, 6)
    x = torch.randn(1, 1, 400, dtype=torch.float64)
    assert relative(svfilt(x, sos.expand(-1, 8, -1, -1))[0], sosfilt(x, sos)[0]) < 1e-10


def test_no_section_of_the_whole_range_can_raise_the_energy():
    """For any state: no singular value of A is above 1."""
    matrices = state_variable_form(designs(20_000))[:, :4].reshape(-1, 2, 2)
    assert torch.linalg.svdvals(matrices).max() <= 1 + 1e-12


def test_energy_never_rises_while_sections_jump_at_every_sample():
    zi = torch.randn(100, 1, 1, 2, dtype=torch.float64)
    sos = designs(100 * 300).view(100, 300, 6)
    found = energies(svfilt, sos, zi, 1)
    assert (found[1:] <= found[:-1] * (1 + 1e-12)).all()
    assert (found[-1] < found[0]).all()


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_worst_jumps_for_sosfilt_do_nothing_to_svfilt(block):
    sos = worst_sequence(extremes(), block, 1e8).unsqueeze(0)
    zi = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    assert energies(sosfilt, sos, zi, block)[-1] > 1e6
    rung = energies(svfilt, sos, zi, block)
    assert (rung[1:] <= rung[:-1] * (1 + 1e-12)).all()


def test_each_section_reads_its_own_state():
    """Two in series are one after the other, states and all, while both jump."""
    x, sos = torch.randn(2, 1, 300, dtype=torch.float64), designs(600).view(1, 300, 2, 6)
    zi = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    first, zf_first = svfilt(x, sos[:, :, :1], zi[:, :, :1])
    expected, zf_second = svfilt(first, sos[:, :, 1:], zi[:, :, 1:])
    y, zf = svfilt(x, sos, zi)
    assert relative(y, expected) < 1e-12
    assert relative(zf, torch.cat([zf_first, zf_second], dim=2)) < 1e-12
