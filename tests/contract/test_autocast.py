"""Mixed precision: every effect trains under torch's autocast. Oracle: the same effect in float32."""

from __future__ import annotations

import pytest
import torch

from .cases import CASES, controls_for


@pytest.mark.parametrize("name", CASES)
def test_every_effect_trains_in_bfloat16(name):
    """Eight bits of mantissa are a few thousandths: what is worse than a tenth of the peak is no rounding.

    But of a phase shift that the audio steers: where its pair of filters cancels, even float32 is 3e-4 from float64.
    """
    torch.manual_seed(0)
    effect = CASES[name](dtype=torch.float32)
    x, controls = 0.3 * torch.randn(2, 1, 512), controls_for(effect, 2)
    expected, _ = effect(x, controls)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = effect(x, controls)
    assert y.isfinite().all()
    assert name.startswith("PhaseShift-Dynamic") or (y - expected).abs().max() < 0.1 * expected.abs().max()
    y.float().square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in effect.parameters())
