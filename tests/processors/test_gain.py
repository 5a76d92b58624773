"""Gain, offset, inversion and mixing against arithmetic."""

from __future__ import annotations

import pytest
import torch

from nablafx.processors import DCOffset, Gain, Mix, PhaseInversion, TanhNonlinearity


def test_gain_in_db():
    x = torch.randn(2, 1, 50)
    y, state = Gain(gain_db=(-20.0, 20.0))(x, torch.tensor([[[0.0]], [[1.0]]]))
    torch.testing.assert_close(y, x * torch.tensor([0.1, 10.0]).view(2, 1, 1))
    assert state == ()


def test_offset_inversion_and_tanh():
    x = torch.randn(2, 1, 50)
    torch.testing.assert_close(DCOffset(offset=(-2.0, 2.0))(x, torch.full((1, 1, 1), 0.75))[0], x + 1)
    assert torch.equal(PhaseInversion()(x)[0], -x)
    assert torch.equal(TanhNonlinearity()(x)[0], torch.tanh(x))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_mix_of_wet_and_dry(share):
    wet, dry = torch.randn(2, 1, 50), torch.randn(2, 1, 50)
    y, _ = Mix()(wet, torch.full((1, 1, 1), share), dry=dry)
    torch.testing.assert_close(y, share * wet + (1 - share) * dry)
    alone, _ = Mix()(wet, torch.full((1, 1, 1), share))
    torch.testing.assert_close(alone, share * wet)
