"""The compiled scan. Oracles: the matrix products of the reference in float64, which tests/dsp holds against scipy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nablafx.kernels.ssm import ops, reference, scan
from nablafx.layers.diagonal_ssm import DiagonalSSM

# batch, channels, states, samples: blocks of 32 and of 64 samples, sixteen of which are multiplied together
SIZES = [
    (1, 1, 1, 1),
    (2, 3, 5, 31),
    (1, 2, 8, 32),
    (3, 2, 9, 33),
    (2, 1, 4, 32 * 16),
    (1, 2, 3, 32 * 16 + 1),
    (2, 2, 32, 64 * 17 + 63),
    (1, 3, 20, 64 * 33),
]
NAMES = ("y", "state", "u", "log_z", "gain", "readout", "direct", "state before")


def drawn(batch: int, channels: int, states: int, length: int) -> list[Tensor]:
    """Arguments as a layer makes them: time constants of 20 to 20,000 samples."""
    generator = torch.Generator().manual_seed(length + states)
    decay = -(10 ** (-1.3 - 3 * torch.rand(channels, states, generator=generator).double()))
    angle = 3 * torch.rand(channels, states, generator=generator).double()
    gain, readout = torch.randn(2, channels, states, generator=generator, dtype=torch.complex128)
    direct = torch.randn(channels, generator=generator).double()
    u = torch.randn(batch, channels, length, generator=generator)
    state = torch.randn(batch, channels, states, generator=generator, dtype=torch.complex64)
    return [t.requires_grad_() for t in (u, torch.complex(decay, angle), gain, readout, direct, state)]


def in_float64(arguments: list[Tensor]) -> list[Tensor]:
    u, *system, state = (a.detach() for a in arguments)
    return [t.requires_grad_() for t in (u.double(), *(s.clone() for s in system), state.to(torch.complex128))]


def answers(function, arguments: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of random sums of them."""
    generator = torch.Generator().manual_seed(0)
    outputs = function(*arguments)
    of_y = torch.randn(outputs[0].shape, generator=generator)
    of_state = torch.randn(outputs[1].shape, generator=generator, dtype=torch.complex64)
    grads = [of_y.to(outputs[0].dtype), of_state.to(outputs[1].dtype)]
    return [*outputs, *torch.autograd.grad(outputs, arguments, grads)]


def assert_close(found: list[Tensor], expected: list[Tensor], forward: float = 2e-6, backward: float = 1e-5) -> None:
    for number, (name, f, e) in enumerate(zip(NAMES, found, expected, strict=True)):
        assert f.shape == e.shape, name
        error = (f - e).abs().max() / e.abs().max()
        assert error <= (forward if number < 2 else backward), f"{name}: {error:.1e}"


@pytest.fixture
def compiled(monkeypatch):
    """The reference must not be what is tested."""
    monkeypatch.delenv("NABLAFX_KERNELS", raising=False)
    monkeypatch.setattr(reference, "scan", None)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_equals_the_reference_in_float64(sizes):
    arguments = drawn(*sizes)
    assert_close(answers(ops.scan, arguments), answers(reference.scan, in_float64(arguments)))


def test_a_long_memory_keeps_its_angle():
    """States that live for 40,000 samples and turn by a radian in each of 150,000."""
    u, log_z, *others = drawn(1, 2, 2, 150_000)
    log_z = torch.full_like(log_z, complex(-1 / 40_000, 1.0)).requires_grad_()
    arguments = [u, log_z, *others]
    assert_close(answers(scan, arguments), answers(reference.scan, in_float64(arguments)))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_threads_and_company_change_nothing(sizes, threads):
    """Bit by bit; an item is what it is alone."""
    arguments, results = drawn(*sizes), []
    for count in (1, 2, 7):
        threads(count)
        results.append(answers(scan, arguments))
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))
    u, *system, state = (a.detach() for a in arguments)
    for n in range(sizes[0]):
        y, after = scan(u[n : n + 1], *system, state[n : n + 1])
        assert torch.equal(y[0], results[0][0][n])
        assert torch.equal(after[0], results[0][1][n])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("cuts", [[1, 1, 898], [64, 836], [450, 449, 1]], ids=str)
def test_pieces_are_the_whole(cuts):
    arguments = drawn(2, 2, 12, 900)

    def in_pieces(u, *rest):
        *system, state = rest
        outputs = []
        for piece in u.split(cuts, dim=-1):
            y, state = scan(piece, *system, state)
            outputs.append(y)
        return torch.cat(outputs, dim=-1), state

    assert_close(answers(in_pieces, arguments), answers(scan, arguments))


@pytest.mark.usefixtures("compiled")
def test_memory_in_any_order_and_arguments_left_as_they_were():
    """Also numbers of which torch has only noted that they are conjugates, and one state for all items."""
    u, log_z, gain, readout, direct, state = (a.detach() for a in drawn(3, 2, 5, 100))
    plain = [u, log_z, gain, readout, direct, state[:1].repeat(3, 1, 1)]
    scattered = [u.mT.contiguous().mT, log_z.mT.contiguous().mT, gain.conj().resolve_conj().conj()]
    scattered += [readout, direct.repeat(2, 1).mT.contiguous()[:, 0], state[:1].expand(3, -1, -1)]
    assert scattered[2].is_conj()
    before = [t.clone() for t in scattered]
    results = [scan(*given) for given in (plain, scattered)]
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(before, scattered, strict=True))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("wanted", range(6))
def test_each_gradient_by_itself(wanted):
    """Of an output alone, and by one argument alone."""
    arguments = drawn(2, 2, 3, 40)
    outputs = scan(*arguments)
    for number, output in enumerate(outputs):
        (whole,) = torch.autograd.grad(output.abs().sum(), arguments[wanted], retain_graph=True, allow_unused=True)
        alone = [t.detach() for t in arguments]
        alone[wanted].requires_grad_()
        (found,) = torch.autograd.grad(scan(*alone)[number].abs().sum(), alone[wanted], allow_unused=True)
        assert torch.equal(found, whole)


@pytest.mark.usefixtures("compiled")
def test_the_operator_is_what_torch_takes_it_for():
    """Schema, fakes, and gradients under dynamic shapes."""
    for arguments in (drawn(2, 2, 3, 40), [t.detach() for t in drawn(2, 2, 3, 40)]):
        results = torch.library.opcheck(torch.ops.nablafx.ssm_scan.default, tuple(arguments))
        assert set(results.values()) == {"SUCCESS"}


@pytest.mark.filterwarnings("ignore:.*jit.trace:DeprecationWarning")
def test_plain_torch_runs_where_it_must(monkeypatch):
    """Traced, transformed, in another dtype, and where it is asked for."""
    arguments = [t.detach() for t in drawn(2, 2, 3, 40)]
    expected = scan(*arguments)
    monkeypatch.setattr(ops, "_scan", None)
    found = [
        torch.compile(scan, backend="aot_eager")(*arguments),
        torch.func.vjp(scan, *arguments)[0],
        torch.jit.trace(scan, arguments, check_trace=False)(*arguments),
        scan(*(t.detach() for t in in_float64(arguments))),
    ]
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    found.append(scan(*arguments))
    for results in found:
        for f, e in zip(results, expected, strict=True):
            torch.testing.assert_close(f, e, rtol=0, atol=1e-5 * float(e.abs().max()), check_dtype=False)


@pytest.mark.usefixtures("compiled")
def test_what_does_not_fit_is_told():
    """Compiled loops would read beyond the end."""
    u, *system, state = (a.detach() for a in drawn(2, 3, 4, 10))
    with pytest.raises(ValueError, match=r"scan: 2 channels of audio met systems of \[\(3, 4\)"):
        scan(u[:, :2], *system, state)
    with pytest.raises(ValueError, match="scan: 3 channels"):
        scan(u, system[0], system[1][:, :2], *system[2:], state)
    with pytest.raises(RuntimeError, match="expand"):
        scan(u, *system, state[..., :2])


def test_a_layer_learns_as_in_float64():
    """Of log_dt, log_A_real, A_imag, C and D, the input and the state."""
    torch.manual_seed(0)
    layer = DiagonalSSM(3, 6)
    x, state = torch.randn(2, 3, 700), torch.randn(2, 3, 6, 2)

    def run(dtype):
        layer.to(dtype)
        given = [t.to(dtype).requires_grad_() for t in (x.detach(), state.detach())]
        y, after = layer(*given)
        grads = torch.autograd.grad(y.sin().sum() + after.square().sum(), [*given, *layer.parameters()])
        return [y, after, *grads]

    for found, expected in zip(run(torch.float32), run(torch.float64), strict=True):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()
