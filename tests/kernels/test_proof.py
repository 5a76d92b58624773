"""The trial that Triton kernels have to pass on a device. Oracle: kernels that are right or broken on purpose."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

from nablafx.kernels import proof
from nablafx.kernels.conv import reference

from .triton_processes import has_triton, interpret, own_process


def louder(x, context, weight, bias, dilation):
    """A convolution that is wrong by one part in fifty."""
    return 1.02 * reference.convolve(x, context, weight, bias, dilation)


def undefined(x, context, weight, bias, dilation):
    return reference.convolve(x, context, weight, bias, dilation) * torch.nan


def unlaunchable(*_):
    raise RuntimeError("out of resource: shared memory")


@pytest.fixture
def kernels(monkeypatch):
    """Stand-ins for the Triton kernels: the reference itself, until a function is replaced."""
    stand_ins = SimpleNamespace(**vars(reference))
    monkeypatch.setattr(proof, "load", lambda family, name: stand_ins if name == "triton" else reference)
    proof._passes.cache_clear()
    yield stand_ins
    proof._passes.cache_clear()


def test_right_kernels_pass_without_a_word(kernels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert proof.proven("conv", "cpu")
        assert proof.proven("conv", torch.device("cpu"))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (louder, r"differ from the reference \(in convolve by 2\.0e-02 of the largest value\) on cpu; plain torch"),
        (undefined, r"of conv make what is no number \(in convolve\) on cpu"),
        (unlaunchable, r"of conv raise RuntimeError \(out of resource: shared memory\) on cpu"),
    ],
)
def test_broken_kernels_are_named_once_and_not_used(kernels, broken, said):
    kernels.convolve = broken
    with pytest.warns(RuntimeWarning, match=said) as caught:
        answers = [proof.proven("conv", "cpu") for _ in range(3)]
    assert answers == [False] * 3
    assert len(caught) == 1


def test_the_trial_disturbs_nothing(kernels):
    """Neither random numbers nor the modes that a model runs in."""
    before = torch.get_rng_state()
    with torch.inference_mode():
        assert proof.proven("conv", "cpu")
        assert torch.is_inference_mode_enabled()
    assert torch.equal(torch.get_rng_state(), before)


@has_triton
def test_the_kernels_themselves_pass_where_they_are_interpreted():
    with own_process(interpret) as process:
        assert process.submit(proof.proven, "conv", "cpu").result()
