"""Models of the published code: what is late there, and what begins in zeros."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree

from nablafx.conditioning import TFiLM
from nablafx.controllers import DynamicController, StaticController
from nablafx.effects import GCN, LSTM, S4, TCN, Effect, GrayBox, Stage
from nablafx.effects.base import WHOLE
from nablafx.processors import DCOffset, Gain, Lowpass
from nablafx.training import system
from nablafx.training.handshake import HandshakeError
from nablafx.training.system import System

SHORT = {"num_blocks": 4, "kernel_size": 5, "dilation_growth": 3, "channel_width": 4}
STAGES = {
    "offset": Stage(DCOffset, lambda p, c: StaticController(p, c, init=0.7)),
    "gain": Stage(Gain, DynamicController),
    "lowpass": Stage(Lowpass, StaticController),
}
WARM = {
    "s4": lambda cold: S4(cold_start=cold),
    "s4-tfilm": lambda cold: S4(cold_start=cold, conditioning=TFiLM),
    "lstm": lambda cold: LSTM(cold_start=cold),
    "graybox": lambda cold: GrayBox(STAGES, cold_start=cold),
}


def made(make, cold: bool) -> Effect:
    torch.manual_seed(0)
    return make(cold).double()


def noise(samples: int) -> torch.Tensor:
    return 0.3 * torch.randn(2, 1, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", WARM)
def test_a_cold_start_is_a_state_of_zeros(name):
    x = noise(512)
    cold, warm = made(WARM[name], True), made(WARM[name], False)
    zeros = pytree.tree_map(torch.zeros_like, warm.resting(x, None))
    expected, _ = warm(x, None, zeros)
    torch.testing.assert_close(cold(x)[0], expected, rtol=0, atol=0)
    assert (expected - warm(x)[0]).abs().max() > 1e-3
    first, state = cold(x[..., :256])
    rest, _ = cold(x[..., 256:], None, state)
    torch.testing.assert_close(torch.cat([first, rest], dim=-1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("net", [TCN, GCN])
def test_all_that_goes_past_a_block_is_late(net):
    """With convolutions that hear nothing, an impulse takes a residual a block, and each of them costs a sample."""
    torch.manual_seed(0)
    model = net(**SHORT, residual_delay=1, output_activation="none").double()
    with torch.no_grad():
        for block in model.blocks[: -1 if net is GCN else None]:
            block.conv.weight.zero_()
        if net is GCN:  # whose output hears gated features alone: the last convolution is there, with its newest tap
            model.blocks[-1].conv.weight[..., :-1] = 0
    x = torch.zeros(1, 1, 200, dtype=torch.float64)
    x[..., 70] = 0.3
    moved = (model(x)[0] - model(torch.zeros_like(x))[0]).detach().abs()
    assert moved.squeeze().nonzero().flatten().tolist() == [70 + (4 if net is TCN else 3)]


@pytest.mark.parametrize("net", [TCN, GCN])
def test_a_direct_path_is_late_once(net):
    torch.manual_seed(0)
    model = net(**SHORT, residual_delay=1, direct_path=True, output_activation="none").double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(2.0 if name == "direct_gain" else 0.0)
    x = noise(50)
    torch.testing.assert_close(model(x)[0], 2 * torch.nn.functional.pad(x, (1, -1)))


@pytest.mark.parametrize("delay", [-1, 5])
def test_a_delay_beyond_the_first_convolution_is_refused(delay):
    with pytest.raises(ValueError, match=f"TCN: residual_delay is {delay}; it needs 0 to 4 samples"):
        TCN(**SHORT, residual_delay=delay)


@pytest.mark.parametrize("net", [TCN, GCN])
def test_without_blocks_a_cold_net_is_the_warm_one(net):
    """Zeros before the input are the silence that it begins in anyway."""
    x = noise(300)
    cold, warm = (
        made(lambda c: net(**SHORT, residual_delay=1, direct_path=True, cold_start=c), c) for c in (True, False)
    )
    torch.testing.assert_close(cold(x)[0], warm(x)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("net", [TCN, GCN])
def test_a_cold_net_is_not_cut(net, monkeypatch):
    model = net(**SHORT, cold_start=True, conditioning=TFiLM)
    assert model.frame_size == WHOLE
    x = noise(300).float()
    whole, state = model(x)
    with pytest.raises(ValueError, match=f"{net.__name__} with cold_start takes a sequence as a whole"):
        model(x, None, state)
    monkeypatch.setattr(system, "_RENDER_PIECE", 64)
    torch.testing.assert_close(System(model).render(x), whole, rtol=0, atol=1e-6)


def test_training_that_would_cut_a_cold_net_is_refused():
    class Data:
        context, segment_length, control_names = 128, 0, ()

    module = System(TCN(**SHORT, cold_start=True, conditioning=TFiLM))
    module._trainer = type("Trainer", (), {"datamodule": Data})()
    with pytest.raises(
        HandshakeError, match=r"data\.context is 128, but TCN with cold_start takes a sequence as a whole"
    ):
        module.setup("fit")
