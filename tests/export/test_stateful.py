"""Effects as functions of flat states. Oracle: the effect, and what silence is."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from nablafx.conditioning import TFiLM
from nablafx.effects import LSTM, TCN
from nablafx.export.formats import ExportError
from nablafx.export.stateful import POSITION, Stateful
from tests.contract.cases import CASES, controls_for

from .streams import MODELS, allowed, knobs, made, noise, sizes_for


def pieces(effect) -> list[int]:
    return sizes_for(effect) * 2


@pytest.mark.parametrize("name", CASES)
def test_every_case_computes_what_its_effect_does(name):
    """In pieces, from zeros, with knobs turned after the third."""
    effect = CASES[name](dtype=torch.float32).eval()
    controls = controls_for(effect, 1)
    turned = None if controls is None else 1 - controls
    sizes = pieces(effect)
    x = noise(sum(sizes)).split(sizes, dim=-1)
    stateful = Stateful(effect, controls)
    flat = stateful.silence(controls)
    assert not any(leaf.any() for leaf in flat.values())
    shapes = {name: leaf.shape for name, leaf in flat.items()}
    state, found, expected = None, [], []
    with torch.no_grad():
        for n, piece in enumerate(x):
            heard = controls if n < 3 else turned
            y, state = effect(piece, heard, state)
            expected.append(y)
            y, flat = stateful(piece, heard, flat)
            found.append(y)
            assert {name: leaf.shape for name, leaf in flat.items()} == shapes
    found, expected = torch.cat(found, dim=-1), torch.cat(expected, dim=-1)
    assert (found - expected).abs().max() <= allowed(name) * expected.abs().max()


# those begin in zeros of their own, which silence moves
@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("cold")])
def test_nothing_moves_in_silence(name):
    effect = made(name)
    controls, _ = knobs(effect)
    stateful = Stateful(effect, controls)
    _, after = stateful(torch.zeros(1, 1, 480), controls, stateful.silence(controls))
    assert after.pop(POSITION, torch.tensor(480)).item() == 480
    for leaf in (leaf for place, leaf in after.items() if not place.endswith("peak")):
        assert leaf.abs().max() < 1e-4


@pytest.mark.parametrize("name", ["TCN with knobs", "chain with knobs"])
def test_silence_with_other_knobs(name):
    effect = made(name)
    controls, turned = knobs(effect)
    stateful, x = Stateful(effect, controls), noise(300)
    found, _ = stateful(x, turned, stateful.silence(turned))
    expected, _ = effect(x, turned)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    other, _ = stateful(x, turned, stateful.silence(controls))
    assert not torch.allclose(other, expected, rtol=1e-5, atol=1e-6)


def test_tensors_have_the_names_of_their_places():
    effect = made("GCN that does not")
    names = set(Stateful(effect, None).silence(None))
    listener = {f"blocks.{n}.modulation.{name}" for n in range(2) for name in ("peak", "h", "c")}
    assert names == {POSITION, "blocks.0.context", "blocks.1.context", *listener}
    assert set(Stateful(made("TCN of one tap"), None).silence(None)) == set()
    assert set(Stateful(made("S4"), None).silence(None)) == {"blocks.0.ssm", "blocks.1.ssm"}


def test_the_effect_stays_as_it_is():
    effect, x = made("GCN that does not"), noise(200)
    before, parameters = effect(x)[0], [p.clone() for p in effect.parameters()]
    Stateful(effect, None)(x, None, Stateful(effect, None).silence(None))
    assert torch.equal(effect(x)[0], before)
    assert all(torch.equal(p, q) for p, q in zip(effect.parameters(), parameters, strict=True))


def test_what_cannot_run_block_after_block_is_told():
    with pytest.raises(ExportError, match=r"TCN with cold_start takes a sequence as a whole.*cold_start: false"):
        Stateful(TCN(cold_start=True), None)
    with pytest.raises(ExportError, match="frames of 128 samples, and a block of 64 is no multiple"):
        Stateful(TCN(conditioning=partial(TFiLM)), None, 64)
    with pytest.raises(ExportError, match="a block of 0"):
        Stateful(LSTM(), None, 0)
