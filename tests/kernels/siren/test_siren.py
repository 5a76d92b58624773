"""Networks of sines. Oracle: the same in plain torch, float64."""

from __future__ import annotations

import pytest
import torch

from nablafx.kernels import siren as family
from nablafx.kernels.siren import cpu, ops, reference
from nablafx.layers.siren import SirenCurve

SIZES = [(1, 32, 32, 32, 1), (1, 8, 1), (1, 5, 11, 1), (1, 17, 16, 1), (1, 1)]
LENGTHS = [1, 15, 16, 383, 385, 3841]


def case(sizes, length, dtype=torch.float64):
    generator = torch.Generator().manual_seed(length)
    x = 2 * torch.rand(length, generator=generator, dtype=dtype) - 1
    # phases up to some tens, as w0 makes them
    scales = [30.0, *(2.4 / n**0.5 for n in sizes[1:-1])]
    pairs = zip(sizes[1:], sizes[:-1], scales, strict=True)
    weights = [scale * torch.randn(out, into, generator=generator, dtype=dtype) for out, into, scale in pairs]
    biases = [torch.randn(len(w), generator=generator, dtype=dtype) for w in weights]
    return x.float().to(dtype), [w.float().to(dtype) for w in weights], [b.float().to(dtype) for b in biases]


def float32(x, weights, biases):
    return x.float(), [w.float() for w in weights], [b.float() for b in biases]


def plain(x, weights, biases):
    return reference.siren(x.unsqueeze(-1), weights, biases).squeeze(-1)


def close(found, expected, tolerance):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients(sizes, length):
    x, weights, biases = case(sizes, length)
    leaves = [t.requires_grad_() for t in (x, *weights, *biases)]
    grad = torch.randn(length, generator=torch.Generator().manual_seed(1)).double()
    expected = plain(x, weights, biases)
    wanted = torch.autograd.grad(expected, leaves, grad)
    given = float32(x.detach(), [w.detach() for w in weights], [b.detach() for b in biases])
    close(cpu.siren(*given), expected.detach(), 2e-5)
    for found, right in zip(cpu.siren_backward(grad.float(), *given), wanted, strict=True):
        close(found, right, 1e-4)


def test_sines_are_exact_to_float32_for_phases_of_any_size():
    """Layers of one unit: y = sin(w x)."""
    x, one = torch.linspace(-1, 1, 100_001), torch.ones(1, 1)
    for scale in (1.0, 40.0, 900.0):
        phases = scale * x
        found = cpu.siren(phases, [one, one], [torch.zeros(1), torch.zeros(1)])
        assert (found.double() - phases.double().sin()).abs().max() < 2e-7
        of_x, *_ = cpu.siren_backward(torch.ones_like(x), phases, [one, one], [torch.zeros(1), torch.zeros(1)])
        assert (of_x.double() - phases.double().cos()).abs().max() < 2e-7


def test_threads_change_nothing(threads):
    given = float32(*case((1, 32, 32, 1), 20_000))
    grad = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append([cpu.siren(*given), *cpu.siren_backward(grad, *given)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_operator_is_what_torch_takes_it_for():
    x, weights, biases = float32(*case((1, 8, 8, 1), 50))
    arguments = x.requires_grad_(), [w.requires_grad_() for w in weights], [b.requires_grad_() for b in biases]
    torch.library.opcheck(ops.siren, arguments)


def test_a_curve_runs_compiled_where_it_may(monkeypatch):
    """Long float32 audio; few numbers, float64 and other sizes in plain torch, to the same values."""
    curve, calls = SirenCurve(hidden_size=32, num_hidden=3), []
    run = ops.siren
    monkeypatch.setattr(family.ops, "siren", lambda *given: calls.append(1) or run(*given))
    x = torch.randn(2, 1, 3000, generator=torch.Generator().manual_seed(0))
    y = curve(x)
    assert len(calls) == 1
    close(torch.cat([curve(piece) for piece in x.split(100, dim=-1)], dim=-1), y, 2e-5)
    close(y.double(), curve.double()(x.double()), 2e-5)
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    curve.float()(x)
    assert len(calls) == 1
