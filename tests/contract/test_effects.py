"""The contract, held against every effect with every conditioning, and every processor with every controller."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from .cases import BLOCK, CASES, NETS, NUM_CONTROLS, ROUNDED, controls_for

# sizes of pieces, and lengths of streams that hold several of them and of the blocks
CUTS = {1: 44, 7: 100, BLOCK - 1: 100, BLOCK: 100, BLOCK + 1: 100, 1200: 1300}
MIXED = [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 600, 1]


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def model(request):
    return request.param()


def pieces_of(model, length: int, size: int) -> list[int]:
    size = -(-size // model.frame_size) * model.frame_size
    return [min(size, length - start) for start in range(0, length, size)]


def run(model, x, controls, sizes):
    state, outputs = None, []
    for piece in x.split(sizes, dim=-1):
        y, state = model(piece, controls, state)
        outputs.append(y)
    return torch.cat(outputs, dim=-1), state


def gradients(model, y, weights):
    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    # every parameter that asks for a gradient gets one: several processes would wait for those that do not
    return dict(zip(names, torch.autograd.grad((y * weights).sum(), parameters), strict=True))


def assert_law(model, length, sizes, tolerance=1e-9):
    dtype = next(model.parameters(), torch.zeros((), dtype=torch.float64)).dtype
    x = torch.randn(2, 1, length, dtype=dtype) * 0.5
    controls, weights = controls_for(model, 2), torch.randn(2, 1, length, dtype=dtype) / length
    whole, whole_state = run(model, x, controls, [length])
    pieces, pieces_state = run(model, x, controls, sizes)
    torch.testing.assert_close(pieces, whole, rtol=tolerance, atol=tolerance)
    expected, found = gradients(model, whole, weights), gradients(model, pieces, weights)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        scale = value.abs().max().clamp_min(1e-3)
        assert (found[name] - value).abs().max() <= 10 * tolerance * scale, name
    for a, b in zip(pytree.tree_leaves(whole_state), pytree.tree_leaves(pieces_state), strict=True):
        torch.testing.assert_close(a, b, rtol=10 * tolerance, atol=10 * tolerance)


def mixed_pieces(model) -> list[int]:
    return [-(-size // model.frame_size) * model.frame_size for size in MIXED]


def test_law_of_cuts(model):
    model.train()
    for size, length in CUTS.items():
        assert_law(model, length, pieces_of(model, length, size))
    sizes = mixed_pieces(model)
    assert_law(model, sum(sizes), sizes)


def test_evaluation_is_what_is_trained(model):
    """Bit for bit, whole and cut, and with the gradients: what holds of the one holds of the other."""
    sizes = mixed_pieces(model)
    x, controls = torch.randn(2, 1, sum(sizes), dtype=torch.float64), controls_for(model, 2)
    for cuts in ([sum(sizes)], sizes):
        trained, _ = run(model.train(), x, controls, cuts)
        evaluated, _ = run(model.eval(), x, controls, cuts)
        assert torch.equal(evaluated, trained)
        expected, found = (gradients(model, y, torch.ones_like(y)) for y in (trained, evaluated))
        for name, value in expected.items():
            assert torch.equal(found[name], value), name


@pytest.mark.parametrize("name", CASES)
def test_law_of_cuts_in_float32(name):
    model = CASES[name](dtype=torch.float32).eval()
    x, controls = torch.randn(2, 1, 5000) * 0.5, controls_for(model, 2)
    whole, _ = model(x, controls)
    pieces, _ = run(model, x, controls, pieces_of(model, 5000, 1280))
    torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("zeros", [1, 50, 3000])
def test_no_state_is_silence_for_ever(name, zeros):
    """Also for what is not asked to: with controls held, every conditioning settles, and so does the net."""
    model = CASES[name]()
    # blocks are counted from the first sample of the stream: silence of whole blocks leaves the grid where it was
    grid = BLOCK if "latency" in name or "lookahead" in name else 1
    zeros = -(-zeros // grid) * grid
    x, controls = torch.randn(2, 1, 700, dtype=torch.float64), controls_for(model, 2)
    alone, _ = model(x, controls)
    after_silence, _ = model(torch.nn.functional.pad(x, (zeros, 0)), controls)
    torch.testing.assert_close(after_silence[..., zeros:], alone, rtol=1e-8, atol=1e-8)


def test_silence_in_a_constant_out(model):
    y, _ = model(torch.zeros(1, 1, 600, dtype=torch.float64), controls_for(model, 1))
    torch.testing.assert_close(y, y[..., :1].expand_as(y), rtol=0, atol=1e-9)


def test_causality(model, request):
    n = 301
    rounding = 1e-12 if request.node.callspec.id.startswith(ROUNDED) else 0
    x, controls = torch.randn(1, 1, 700, dtype=torch.float64), controls_for(model, 1)
    changed = x.clone()
    changed[..., n:] += 1
    with torch.no_grad():
        before, after = model(x, controls)[0], model(changed, controls)[0]
    start = n // model.frame_size * model.frame_size
    torch.testing.assert_close(after[..., :start], before[..., :start], rtol=0, atol=rounding)
    assert not torch.equal(after[..., n], before[..., n])


def test_state_is_a_tree_of_tensors_with_the_batch_first(model):
    _, state = model(torch.randn(3, 1, 256, dtype=torch.float64), controls_for(model, 3))
    for leaf in pytree.tree_leaves(state):
        assert isinstance(leaf, torch.Tensor)
        assert leaf.shape[0] == 3


def test_items_of_a_batch_do_not_hear_each_other(model):
    x, controls = torch.randn(3, 1, 400, dtype=torch.float64), controls_for(model, 3)
    together, _ = model(x, controls)
    for n in range(3):
        alone, _ = model(x[n : n + 1], None if controls is None else controls[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-9, atol=1e-9)


def test_wrong_input_is_told(model):
    name = type(model).__name__
    x = torch.randn(2, 1, 256, dtype=torch.float64)
    for bad in (x[0], x.expand(-1, 2, -1), x[..., :0], x.long()):
        with pytest.raises(ValueError, match=rf"{name}: x must be audio of shape \(batch, 1, samples\), got"):
            model(bad, controls_for(model, 2))
    wrong = torch.rand(2, NUM_CONTROLS + 1, dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"{name}: .*controls"):
        model(x, wrong)
    if model.num_controls:
        with pytest.raises(ValueError, match="controls must have shape"):
            model(x)


def test_lookahead_refuses_to_go_on_inside_a_block(model):
    x, controls = torch.randn(1, 1, 200, dtype=torch.float64), controls_for(model, 1)
    _, state = model(x, controls)
    if model.frame_size == 1:
        model(x, controls, state)
    else:
        with pytest.raises(ValueError, match=f"cut at multiples of {model.frame_size} samples"):
            model(x, controls, state)


@pytest.mark.parametrize("effect", NETS)
def test_controls_without_conditioning_are_refused(effect):
    with pytest.raises(ValueError, match=r"has 2 controls, and the effect .* takes none"):
        effect(num_controls=2)


@pytest.mark.parametrize("effect", [effect for effect in NETS if effect().receptive_field])
def test_silence_costs_no_padding(effect, monkeypatch):
    """Twice the audio is twice the work: nothing is spent on a past as long as the receptive field."""
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")  # torch counts the work of its own operators
    model = effect(kernel_size=13, dilation_growth=10)
    assert model.receptive_field > 2.7 * 48_000
    work = []
    for length in (2048, 4096):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.randn(1, 1, length))
        work.append(counter.get_total_flops())
    assert work[1] == pytest.approx(2 * work[0], rel=0.02)


def test_training_step(model):
    """One optimizer step changes every parameter that can matter, and absorbing statistics keeps the output finite."""
    model.train()
    x, controls = torch.randn(2, 1, 512, dtype=torch.float64), controls_for(model, 2)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    y, state = model(x, controls)
    (y - torch.tanh(3 * x)).square().mean().backward()
    optimizer.step()
    model.absorb(state)
    still = [n for n, p in model.named_parameters() if p.requires_grad and torch.equal(p, before[n])]
    assert not still
    assert model(x, controls)[0].isfinite().all()
