"""Oracles of the gradients: finite differences, and that pieces give what the whole gives."""

from __future__ import annotations

import pytest
import torch

from nablafx.dsp.filtering import envelope, sosfilt, sosfilt_zi, svfilt, svfilt_zi

from .sections import cut, drawn, relative


def variables(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [t.detach().double().requires_grad_() for t in tensors]


@pytest.mark.parametrize("run", [sosfilt, svfilt])
@pytest.mark.parametrize(("length", "block", "offset"), [(6, 1, 0), (9, 4, 2), (135, 80, 20)])
@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_of_filters_equal_finite_differences(run, length, block, offset, batch):
    """With changes of block inside, over a checkpoint, for sections of each item and shared ones."""
    torch.manual_seed(0)
    sets = -(-(length + offset) // block)
    x, zi = torch.randn(2, 2, length), torch.randn(2, 2, 2, 2)
    sos = 0.9 * drawn(batch, sets, 2)  # not so near to the unit circle
    inputs = variables(x, sos, zi)
    assert torch.autograd.gradcheck(lambda *given: run(*given, block, offset), inputs, fast_mode=length > 100)


@pytest.mark.parametrize("rest", [sosfilt_zi, svfilt_zi])
def test_gradients_of_the_state_at_rest_equal_finite_differences(rest):
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(rest, variables(torch.randn(2, 2, 1), 0.9 * drawn(2, 1, 2)))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("length", "block", "offset"), [(12, 1, 0), (14, 5, 3)])
def test_gradients_of_envelopes_equal_finite_differences(length, block, offset, batch):
    torch.manual_seed(0)
    sets = -(-(length + offset) // block)
    attack, release = torch.rand(2, batch, sets) * 0.9
    inputs = variables(torch.randn(2, 2, length), attack, release, torch.randn(2, 2))
    # no sample so near to the envelope that a difference would switch sides
    e, _ = envelope(*inputs, block, offset)
    before = torch.cat([inputs[3].unsqueeze(-1), e[..., :-1]], dim=-1)
    assert (inputs[0] - before).abs().min() > 1e-4
    assert torch.autograd.gradcheck(lambda *given: envelope(*given, block, offset), inputs)


@pytest.mark.parametrize("run", [sosfilt, svfilt])
def test_gradients_through_pieces_are_those_of_the_whole(run):
    """Cut within blocks, at their edges and at no multiple of the distance of checkpoints."""
    torch.manual_seed(0)
    length, block = 600, 50
    inputs = variables(torch.randn(2, 2, length), drawn(2, length // block, 2), torch.randn(2, 2, 2, 2))
    weight, on_state = torch.randn(2, 2, length), torch.randn(2, 2, 2, 2)

    def total(*cuts: int) -> torch.Tensor:
        x, sos, state = inputs
        outputs = []
        for start, stop in cut(length, *cuts):
            sets = sos[:, start // block : (stop - 1) // block + 1]
            y, state = run(x[..., start:stop], sets, state, block, start % block)
            outputs.append(y)
        return (torch.cat(outputs, dim=-1) * weight).sum() + (state * on_state).sum()

    expected = torch.autograd.grad(total(), inputs)
    for found, right in zip(torch.autograd.grad(total(1, 20, 50, 129, 333), inputs), expected, strict=True):
        assert relative(found, right) < 1e-12


def test_gradients_of_envelopes_through_pieces_are_those_of_the_whole():
    torch.manual_seed(0)
    length, block = 600, 50
    poles = torch.rand(2, 2, length // block) * 0.99
    inputs = variables(torch.randn(2, 1, length), *poles, torch.randn(2, 1))
    weight = torch.randn(2, 1, length)

    def total(*cuts: int) -> torch.Tensor:
        x, attack, release, state = inputs
        outputs = []
        for start, stop in cut(length, *cuts):
            sets = slice(start // block, (stop - 1) // block + 1)
            e, state = envelope(x[..., start:stop], attack[:, sets], release[:, sets], state, block, start % block)
            outputs.append(e)
        return (torch.cat(outputs, dim=-1) * weight).sum() + state.sum()

    expected = torch.autograd.grad(total(), inputs)
    for found, right in zip(torch.autograd.grad(total(1, 20, 50, 129, 333), inputs), expected, strict=True):
        assert relative(found, right) < 1e-12
