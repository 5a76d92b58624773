"""A gray box that was made with known parameters teaches a fresh copy what it does."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from nablafx.controllers import DynamicController, StaticController
from nablafx.dsp.response import frequencies
from nablafx.effects import GrayBox, Stage
from nablafx.processors import DCOffset, Gain, Lowshelf, ParametricEQ, Peaking, TanhNonlinearity

Q = (0.3, 3.0, "log")
BEND = {
    "gain": Stage(partial(Gain, gain_db=(-20.0, 20.0)), StaticController),
    "offset": Stage(partial(DCOffset, offset=(-0.5, 0.5)), StaticController),
    "bend": Stage(TanhNonlinearity),
}
FEW = {
    "shelf": Stage(partial(Lowshelf, cutoff_hz=(50.0, 1000.0, "log"), q=0.7), StaticController),
    "peak": Stage(partial(Peaking, cutoff_hz=(500.0, 10_000.0, "log"), q=Q), StaticController),
}
MANY = {
    "eq": Stage(
        partial(
            ParametricEQ,
            low_shelf_cutoff_hz=(50.0, 500.0, "log"),
            low_shelf_q=0.7,
            peak1_cutoff_hz=(100.0, 1000.0, "log"),
            peak1_q=Q,
            peak2_cutoff_hz=(500.0, 4000.0, "log"),
            peak2_q=Q,
            peak3_cutoff_hz=(2000.0, 10_000.0, "log"),
            peak3_q=Q,
            high_shelf_cutoff_hz=(4000.0, 16_000.0, "log"),
            high_shelf_q=0.7,
        ),
        StaticController,
    )
}


def noise(batch: int, length: int, loudest: float = 0.6) -> torch.Tensor:
    """White, at a level that jumps every 20 ms, between silence and `loudest`."""
    level = torch.rand(batch, 1, -(-length // 960)).repeat_interleave(960, dim=-1)
    return loudest * torch.randn(batch, 1, length) * level[..., :length]


def taught(teacher: GrayBox, pupil: GrayBox, steps: int, lr: float, **of: float) -> tuple[torch.Tensor, float]:
    """Audio that the pupil was not taught on, and its ESR there."""
    x, heard = (noise(count, **{"length": 4800, **of}) for count in (8, 2))
    with torch.no_grad():
        y, told = teacher(x)[0], teacher(heard)[0]
    optimizer = torch.optim.Adam(pupil.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = (pupil(x)[0] - y).square().sum() / y.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        esr = (pupil(heard)[0] - told).square().sum() / told.square().sum()
    return heard, esr.item()


def drawn(stages: dict[str, Stage], seed: int) -> GrayBox:
    """A chain whose parameters lie away from the middle of their ranges, where a fresh one starts."""
    torch.manual_seed(seed)
    model = GrayBox(stages)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_((0.5 + 0.5 * torch.rand_like(p)) * torch.randn_like(p).sign())
    return model


def values(model: GrayBox, x: torch.Tensor) -> dict[str, float]:
    return {f"{tap.name}.{name}": held.values.item() for tap in model.taps(x) for name, held in tap.params.items()}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_parameters_that_the_sound_tells_are_found(seed):
    """A shelf, a bell, a gain and an offset, none of which can stand in for another."""
    teacher, pupil = drawn({**FEW, **BEND}, seed), GrayBox({**FEW, **BEND})
    x, esr = taught(teacher, pupil, steps=400, lr=0.1)
    assert esr < 1e-4
    found, true = values(pupil, x), values(teacher, x)
    for name, value in true.items():
        if name.endswith("_db"):
            assert found[name] == pytest.approx(value, abs=0.1), name
        else:
            assert found[name] == pytest.approx(value, rel=0.03, abs=0.002), name


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_whole_equaliser_is_found_as_a_response(seed):
    """Shelves that meet bells can share what they lift: what the sound tells is the response of all with the gain."""
    teacher, pupil = drawn({**MANY, **BEND}, seed), GrayBox({**MANY, **BEND})
    x, esr = taught(teacher, pupil, steps=400, lr=0.1)
    assert esr < 1e-4
    found, true = (linear_part(model, x) for model in (pupil, teacher))
    assert (found - true).abs().max() < 0.5
    assert values(pupil, x)["offset.offset"] == pytest.approx(values(teacher, x)["offset.offset"], abs=0.005)


def linear_part(model: GrayBox, x: torch.Tensor) -> torch.Tensor:
    """In dB, from 20 Hz to 20 kHz."""
    freqs = frequencies(48_000, 100)
    responses = [tap.response(freqs) for tap in model.taps(x) if tap.name in ("eq", "gain")]
    return 20 * torch.log10((responses[0] * responses[1]).abs())[0, 0, freqs < 20_000]


def test_a_gain_that_varies_by_blocks_is_found():
    """To 1 dB in every block, over a trace that moves by more than 10: a gain that sinks within 6 blocks of a peak."""
    torch.manual_seed(2)
    teacher, pupil = (
        GrayBox(
            {
                "level": Stage(partial(Gain, gain_db=(-20.0, 20.0)), partial(DynamicController, hidden_size=size)),
                "bend": Stage(TanhNonlinearity),
            }
        )
        for size in (1, 8)
    )
    controller = teacher.links["level"].controller
    with torch.no_grad():
        for p in teacher.parameters():
            p.zero_()
        # gates of an LSTM of one unit: in, forget, cell, out
        controller.listener.lstm.weight_ih_l0[:, 0] = torch.tensor([0.0, 0.0, -1.0, 0.0])
        controller.listener.lstm.bias_ih_l0[:] = torch.tensor([-1.0, 1.5, 0.2, 2.0])
        controller.readout.weight.fill_(3.0)
    x, esr = taught(teacher, pupil, steps=500, lr=0.05, length=11_520, loudest=0.3)
    traces = [next(iter(model.taps(x))).params["gain_db"].values for model in (teacher, pupil)]
    assert traces[0].max() - traces[0].min() > 10
    # of a block in near silence the sound tells nothing
    audible = torch.nn.functional.max_pool1d(x.abs(), 128) > 0.03
    assert audible.float().mean() > 0.8
    assert (traces[1] - traces[0])[audible].abs().max() < 1
    assert esr < 1e-3
