"""Mixed precision: every effect trains under torch's autocast. Oracle: the same effect in float32."""

from __future__ import annotations

import pytest
import torch

from .cases import CASES, controls_for


@pytest.mark.parametrize("name", CASES)
def test_every_effect_trains_in_bfloat16(name):
    """Eight bits of mantissa are a few thousandths: most samples stay within a twentieth of the peak.

    Not all, for what steers a phase shift or a filter by the audio is rounded too, and they turn at once.
    """
    torch.manual_seed(0)
    effect = CASES[name](dtype=torch.float32)
    x, controls = 0.3 * torch.randn(2, 1, 512), controls_for(effect, 2)
    expected, _ = effect(x, controls)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = effect(x, controls)
    assert (y - expected).abs().median() < 0.05 * expected.abs().max()
    y.float().square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in effect.parameters())
