"""Oracles: the sum formula in numpy, scipy's recursive filter per mode, scipy's FFT convolution, finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nablafx.dsp import ssm
from nablafx.effects import S4
from nablafx.kernels.ssm import reference
from nablafx.layers.diagonal_ssm import DiagonalSSM

from .oracle import Continuous, continuous, recurrence, sum_formula

LENGTH = 144_000


def discrete(of: Continuous) -> ssm.Diagonal:
    return ssm.discretize(*(torch.from_numpy(v) for v in of))


def drawn(channels: int, states: int, seed: int = 0) -> Continuous:
    """As initialised, with the decays apart."""
    rng = np.random.default_rng(seed)
    A = -np.exp(rng.normal(np.log(0.5), 0.5, (channels, states))) + 1j * np.pi * np.arange(states)
    C = rng.normal(size=(channels, states)) + 1j * rng.normal(size=(channels, states))
    return Continuous(A, np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), channels)), C, rng.normal(size=channels))


def relative(found, expected) -> float:
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def zeros(batch: int, of: Continuous, dtype=torch.complex128) -> torch.Tensor:
    return torch.zeros(batch, *of.A.shape, dtype=dtype)


@pytest.mark.parametrize("length", [1, 2, 63, 64, 1000, 4097])
def test_kernel_equals_the_sum(length):
    system = drawn(3, 5)
    found = ssm.kernel(discrete(system), length)
    assert found.shape == (3, length)
    np.testing.assert_allclose(found, sum_formula(system, length), rtol=0, atol=1e-12)


def test_kernel_is_still_right_after_three_seconds():
    """A slow decay and a high frequency, 144,000 radians: float32 would have lost the angle by a hundredth."""
    slow = Continuous(np.array([[-0.5 + 1e5j]]), np.array([1e-5]), np.array([[1 + 1j]]), np.zeros(1))
    expected = sum_formula(slow, LENGTH)
    assert np.abs(expected[:, -1000:]).max() > 0.4 * np.abs(expected).max()
    assert relative(ssm.kernel(discrete(slow), LENGTH), expected) < 1e-9


@pytest.mark.parametrize("states", [1, 4, 32])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 127, 128, 129, 2047, 2048, 2049, 64 * 32 * 3 + 65])
def test_scan_equals_the_recurrence(length, states):
    system = drawn(2, states)
    rng = np.random.default_rng(length)
    u = rng.normal(size=(2, 2, length))
    state = rng.normal(size=(2, 2, states)) + 1j * rng.normal(size=(2, 2, states))
    y, after = ssm.scan(torch.from_numpy(u), discrete(system), torch.from_numpy(state))
    expected, expected_after = recurrence(system, u, state)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    np.testing.assert_allclose(after, expected_after, rtol=0, atol=1e-11 * np.abs(expected_after).max())


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1000])
def test_blocks_change_nothing(block):
    """Down to blocks of one sample, where thirty-two times thirty-two of them are grouped twice over."""
    system = drawn(1, 2)
    u = np.random.default_rng(0).normal(size=(1, 1, 32 * 32 * 2 + 33))
    y, _ = reference.scan(torch.from_numpy(u), *discrete(system), zeros(1, system), block)
    np.testing.assert_allclose(y, recurrence(system, u)[0], rtol=0, atol=1e-11)


def test_step_by_step_is_the_scan():
    system = drawn(2, 3)
    u = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 2, 150)))
    state, outputs = zeros(2, system), []
    for n in range(u.shape[-1]):
        y, state = ssm.step(u[..., n], discrete(system), state)
        outputs.append(y)
    expected, expected_state = recurrence(system, u.numpy())
    np.testing.assert_allclose(torch.stack(outputs, dim=-1), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(state, expected_state, rtol=0, atol=1e-12)


def test_scan_is_convolution_with_the_kernel():
    system = drawn(3, 6)
    u = np.random.default_rng(0).normal(size=(2, 3, 5000))
    y, _ = ssm.scan(torch.from_numpy(u), discrete(system), zeros(2, system))
    convolved = fftconvolve(u, ssm.kernel(discrete(system), 5000).numpy()[None], axes=-1)[..., :5000]
    assert relative(y, convolved) < 1e-12


def test_convolution_and_recurrence_agree_in_float32():
    """Layers as in S4-L, 32 states, over 144,000 samples: as one piece, streamed, and as FFT convolution."""
    torch.manual_seed(0)
    layer = DiagonalSSM(4, 32)
    u = torch.randn(1, 4, LENGTH)
    with torch.no_grad():
        whole, _ = layer(u, torch.zeros(1, 4, 32, 2))
        state, pieces = torch.zeros(1, 4, 32, 2), []
        for piece in u.split(480, dim=-1):
            y, state = layer(piece, state)
            pieces.append(y)
        kernel = ssm.kernel(layer.system(), LENGTH).numpy()
    assert whole.dtype == torch.float32
    convolved = fftconvolve(u.numpy().astype(np.float64), kernel[None], axes=-1)[..., :LENGTH]
    assert relative(whole, convolved) < 1e-4
    assert relative(torch.cat(pieces, dim=-1), convolved) < 1e-4
    expected, _ = recurrence(continuous(layer), u.numpy().astype(np.float64))
    assert relative(whole, expected) < 1e-4


def test_the_net_as_convolutions_agrees(monkeypatch):
    """S4-L of 8 channels in float32, against the same net in float64 whose systems are FFT convolutions."""
    torch.manual_seed(0)
    net = S4(num_blocks=8, num_states=32, channel_width=8)
    x = torch.randn(1, 1, LENGTH) * 0.3
    with torch.no_grad():
        y, _ = net(x)
        monkeypatch.setattr(ssm, "scan", convolve)
        expected, _ = net.double()(x.double())
    assert relative(y, expected) < 1e-4


def convolve(u, system, state):
    """The answer from rest: what differs from the value held before, convolved, and the answer to that value."""
    length = u.shape[-1]
    kernel = ssm.kernel(system, length).numpy()
    # the state at rest tells the input that was held
    one = ssm.steady_state(torch.ones_like(u[..., 0]), system)
    held = (state[..., :1] / one[..., :1]).real.numpy()
    dc = (2 * (system.readout * one).real.sum(-1) + system.direct).numpy()[..., None]
    y = fftconvolve(u.numpy() - held, kernel[None], axes=-1)[..., :length] + dc * held
    return torch.from_numpy(y), state


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that any operation makes, and the names of the operations."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.names.add(str(func))
        for leaf in pytree.tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.numel = max(self.numel, leaf.numel())
        return out


def test_nothing_of_channels_times_states_times_length_is_made():
    channels, states = 4, 32
    layer = DiagonalSSM(channels, states)
    u = torch.randn(1, channels, LENGTH, requires_grad=True)
    with Largest() as of_kernel:
        ssm.kernel(layer.system(), LENGTH).sum().backward()
    with Largest() as of_scan:
        y, _ = layer(u, torch.zeros(1, channels, states, 2))
        y.square().sum().backward()
    with Largest() as of_powers:
        torch.exp(layer.system().log_z.unsqueeze(-1) * torch.arange(1000))
    assert of_powers.numel == channels * states * 1000, "the recorder must see such a tensor"
    for recorded in (of_kernel, of_scan):
        assert "aten.expand.default" in recorded.names, "the recorder must see the backward pass"
        assert channels * LENGTH <= recorded.numel <= 2 * channels * LENGTH


def test_gradients_equal_finite_differences():
    """Of everything that the solver is given, through groups, a rest of groups and a rest of a block."""
    torch.manual_seed(0)
    channels, states, length, block = 2, 2, 71, 2

    def run(u, log_dt, log_A_real, A_imag, C, D, state):
        A = torch.complex(-log_A_real.exp(), A_imag)
        system = ssm.discretize(A, log_dt.exp(), torch.view_as_complex(C), D)
        y, after = reference.scan(u, *system, torch.view_as_complex(state), block)
        return y, torch.view_as_real(after), ssm.kernel(system, 7)

    shapes = {"log_dt": (channels,), "log_A_real": (channels, states), "A_imag": (channels, states)}
    arguments = [torch.randn(1, channels, length), *(torch.randn(shape) for shape in shapes.values())]
    arguments += [torch.randn(channels, states, 2), torch.randn(channels), torch.randn(1, channels, states, 2)]
    arguments[1] -= 2  # steps around 0.1
    assert torch.autograd.gradcheck(run, [a.double().requires_grad_() for a in arguments])


def test_steady_state_is_the_limit_of_a_constant_input():
    system = drawn(3, 4)._replace(dt=np.array([0.02, 0.05, 0.1]))
    u = torch.randn(2, 3, 1, dtype=torch.float64)
    steady = ssm.steady_state(u.squeeze(-1), discrete(system))
    assert steady.shape == (2, 3, 4)
    _, limit = recurrence(system, u.expand(-1, -1, 8000).numpy())
    np.testing.assert_allclose(steady, limit, rtol=1e-10, atol=1e-10)
    y, after = ssm.step(u.squeeze(-1), discrete(system), steady)
    np.testing.assert_allclose(after, steady, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(y[..., None], recurrence(system, u.expand(-1, -1, 8000).numpy())[0][..., -1:], atol=1e-9)
