"""The chains of cfg/model/graybox/ are those of the study: their order, what steers them, and how they begin."""

from __future__ import annotations

import itertools

import pytest
import torch

from nablafx.controllers import DynamicCondController, DynamicController, StaticCondController, StaticController

from .committed import build_chain

# before and after the curve, or, in COMP, before and after where an inversion may stand
ORDER = {
    "comp": (["ParametricEQ"], ["Gain", "ParametricEQ", "Gain"]),
    **{
        f"{kind}-{curve}": (["ParametricEQ", "Gain", "DCOffset"], [net, "Gain", "ParametricEQ", "Lowpass"])
        for kind in ("dist", "fuzz")
        for curve, net in (("mlp", "StaticMLPNonlinearity"), ("rnl", "StaticRationalNonlinearity"))
    },
}
DYNAMIC = {"comp": {"level"}, "dist": set(), "fuzz": {"offset"}}
VARIANTS = [
    (chain, fir, inverted, steered)
    for chain, fir, inverted, steered in itertools.product(ORDER, (False, True), (False, True), (False, True))
    if not (fir and chain == "comp")
]


def made(chain: str, fir: bool, inverted: bool, steered: bool):
    torch.manual_seed(0)
    name = chain + "-fir" * fir + "-inv" * inverted + "-cond" * steered
    return build_chain(name, 2 * steered)


def heard(*variant) -> torch.Tensor:
    x = 0.1 * torch.randn(1, 1, 2_560, generator=torch.Generator().manual_seed(1))
    controls = torch.tensor([[0.2, 0.7]]) if variant[-1] else None
    with torch.no_grad():
        return made(*variant)(x, controls)[0]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_stages(variant):
    chain, fir, inverted, steered = variant
    before, after = ORDER[chain]
    after = [*after[:-1], "StaticFIRFilter", after[-1]] if fir else after
    links = made(*variant).links
    assert [type(link.processor).__name__ for link in links.values()] == [
        *before,
        *["PhaseInversion"] * inverted,
        *after,
    ]
    static, dynamic = (
        (StaticCondController, DynamicCondController) if steered else (StaticController, DynamicController)
    )
    moving = DYNAMIC[chain.split("-")[0]]
    for name, link in links.items():
        if not link.processor.num_parameters:
            assert link.controller is None
        else:
            # the low-pass is fixed
            wanted = StaticController if name == "lowpass" else dynamic if name in moving else static
            assert type(link.controller) is wanted
            assert link.controller.sidechain == (name in moving)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v[1]], ids=str)
def test_a_response_begins_as_none(variant):
    chain, _, *others = variant
    without = heard(chain, False, *others)
    error = heard(*variant) - without
    assert 10 * torch.log10(error.square().sum() / without.square().sum()) < -60


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v[2]], ids=str)
def test_an_inversion_before_an_odd_curve_begins_as_one_after_all(variant):
    chain, fir, _, steered = variant
    upright = heard(chain, fir, False, steered)
    torch.testing.assert_close(heard(*variant), -upright, atol=1e-3 * float(upright.abs().max()), rtol=0)
