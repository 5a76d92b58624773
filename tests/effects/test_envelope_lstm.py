"""What an EnvelopeLSTM is before training, and how it is trained."""

from __future__ import annotations

import math

import pytest
import torch

from nablafx.effects import EnvelopeLSTM
from nablafx.layers.resonators import POLES
from nablafx.training.optimizers import parameter_groups


@pytest.mark.parametrize("seed", range(5))
def test_it_begins_as_nearly_the_audio_itself(seed):
    torch.manual_seed(seed)
    model, x = EnvelopeLSTM(), 0.1 * torch.randn(1, 1, 4_800)
    y, _ = model(x)
    assert y.std().item() == pytest.approx(x.std().item(), rel=0.15)
    assert torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1] > 0.95
    assert y.mean().abs() < 0.15


def test_what_is_tuned_with_care():
    """Time constants and poles are few, a tenth of the rate and no decay to 1 ms; of taps there are many."""
    model = EnvelopeLSTM()
    slow, base, taps = parameter_groups(model, 0.01, 0.02)
    assert (taps["lr"], taps["weight_decay"]) == (pytest.approx(0.001), 0.02)
    assert {id(p) for p in taps["params"]} == {id(p) for p in model.last.parameters()}
    assert (base["lr"], base["weight_decay"]) == (0.01, 0.02)
    assert (slow["lr"], slow["weight_decay"]) == (pytest.approx(0.001), 0.0)
    poles = [getattr(part, name) for part in (model.resonators, model.tone) for name in POLES]
    assert {id(p) for p in slow["params"]} == {id(p) for p in [model.envelopes.log_time_ms, *poles]}
    grid = [math.exp(math.log(500) * n / 7) for n in range(8)]
    torch.testing.assert_close(model.envelopes.log_time_ms.exp(), torch.tensor(grid))


def test_it_can_be_a_compressor():
    """Units that follow the level alone set a gain: the limit of one with a slow envelope is a constant."""
    model = EnvelopeLSTM(hidden_size=1, num_bands=1, num_envelopes=1, kernel_size=1, num_taps=1).double()
    with torch.no_grad():
        for part in (model.filters, model.lstm, model.readout, model.last):
            for p in part.parameters():
                p.zero_()
        model.filters.weight[1] = model.last.weight[0] = 1.0
        # the cell holds nothing: h = σ(o) tanh(σ(i) tanh(3 level)), with gates that are open
        model.lstm.weight_ih_l0[2, -1] = 3.0
        model.lstm.bias_ih_l0.copy_(torch.tensor([50.0, -50.0, 0.0, 50.0]))
        model.readout.weight[1, 0], model.readout.bias[1] = -0.5, 1.0
        model.envelopes.log_time_ms.fill_(math.log(1.0))
    for level in (0.01, 0.5):
        # of a square wave the magnitude is constant
        x = level * torch.where(torch.arange(1_600) % 100 < 50, 1.0, -1.0).double().view(1, 1, -1)
        y, _ = model(x)
        told = math.tanh(math.tanh(3 * (1 + 2 / 3 * math.log10(level + 1e-3))))
        torch.testing.assert_close(y[..., -100:], (1 - 0.5 * told) * x[..., -100:], rtol=1e-6, atol=0)


@pytest.mark.parametrize("times", [{"fastest_ms": 0.0}, {"slowest_ms": -1.0}])
def test_times_above_zero(times):
    with pytest.raises(ValueError, match=r"fastest_ms and slowest_ms are .*; both must be above 0"):
        EnvelopeLSTM(**times)


@pytest.mark.parametrize("sizes", [{"num_bands": -1}, {"num_envelopes": 0}, {"num_resonators": 0}, {"num_poles": 0}])
def test_an_envelope_must_be_heard(sizes):
    with pytest.raises(ValueError, match=r"EnvelopeLSTM: num_bands is .*; at least 0, 1, 1 and 1 are needed"):
        EnvelopeLSTM(**sizes)
