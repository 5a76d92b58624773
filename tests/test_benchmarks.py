"""The benchmarks: they run, and what they time beside each other computes the same."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch

from nablafx.dsp import biquad, filtering

from .conftest import ROOT

LARGEST = {
    "svfilt": 1e-5,
    "sosfilt": 1e-5,
    "filter-passes": 1e-3,
    "frequency-sampling": 1e-2,
    "fir": 1e-5,
    "conv1d": 1e-5,
    "one-fft": 1e-5,
    "envelope": 1e-5,
    "sample-loop": 1e-4,
}
OTHER_STATES = {"svfilt": 0.1, "sample-filter": 0.1, "svfilt-each-sample": 0.1}


@pytest.fixture(scope="module")
def load():
    """Import a script by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        yield importlib.import_module


def test_filters_are_compared_with_their_equals(load, capsys):
    script = load("benchmark_filters")
    options = script.parse(["--samples", "2000", "--rounds", "2"])
    groups = script.measure(options)
    stay, change, dynamic, fir, envelope = ({way.name: way.difference for way in ways} for ways in groups.values())
    assert [*dynamic] == ["equaliser", "equaliser-loop"]
    assert dynamic["equaliser"] < OTHER_STATES["svfilt"]
    assert [*stay] == ["svfilt", "sosfilt", "frequency-sampling", "filter-passes"]
    assert [*change] == ["svfilt", "sosfilt", "block-loop", "sample-filter", "svfilt-each-sample"]
    for name, difference in (stay | fir | envelope).items():
        assert difference < LARGEST[name], name
    assert change["sosfilt"] < LARGEST["sosfilt"]
    for name, largest in OTHER_STATES.items():
        assert change[name] < largest, name

    script.report(options, groups)
    told = capsys.readouterr().out
    assert all(name in told for name in [*stay, *change, *dynamic, *fir, *envelope])


def test_filters_can_be_skipped(load):
    script = load("benchmark_filters")
    options = script.parse(["--samples", "300", "--rounds", "1", "--skip", *script.SLOW])
    names = [[way.name for way in ways] for ways in script.measure(options).values()]
    assert names == [["svfilt", "sosfilt"], ["svfilt", "sosfilt"], ["equaliser"], ["fir"], ["envelope"]]


@pytest.fixture(scope="module")
def published(load) -> ModuleType:
    return load("published_filters")


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Audio, sections of low Q, and a gradient of y."""
    torch.manual_seed(0)
    gain_db = torch.tensor([[[6.0, -9.0]], [[-4.0, 11.0]]])
    sos = biquad.peaking(gain_db, torch.tensor([800.0, 5000.0]), 1.0, 48_000)
    return torch.randn(2, 1, 1000), sos, torch.randn(2, 1, 1000)


@pytest.mark.parametrize("name", ["frequency_sampling", "filter_passes", "sample_filter"])
def test_gradients_are_those_of_ours(published, case, name):
    """The hand-written backward passes, that is; sections that stay for the filter with sets for every sample, too."""
    x, sos, grad = case
    x, sos = x.requires_grad_(), sos.requires_grad_()
    ours = torch.autograd.grad(filtering.sosfilt(x, sos)[0], (x, sos), grad)
    run = getattr(published, name)
    y = run(x, sos.expand(-1, 8, -1, -1), 128) if name == "sample_filter" else run(x, sos)
    theirs = torch.autograd.grad(y, (x, sos), grad)
    torch.testing.assert_close(theirs[0], ours[0], rtol=1e-3, atol=1e-4)
    free = [0, 1, 2, 4, 5]  # not a0
    torch.testing.assert_close(
        theirs[1][..., free], ours[1][..., free], rtol=1e-3, atol=1e-3 * float(ours[1].abs().max())
    )


def test_gradients_where_the_sections_change(published):
    """As those of a loop in plain torch."""
    torch.manual_seed(0)
    x, a = torch.randn(2, 50, requires_grad=True), (0.4 * torch.randn(2, 2, 50)).requires_grad_()
    past = [torch.zeros(2), torch.zeros(2)]
    for n in range(50):
        past.append(x[:, n] - a[:, 0, n] * past[-1] - a[:, 1, n] * past[-2])
    y, grad = torch.stack(past[2:], dim=-1), torch.randn(2, 50)
    expected = torch.autograd.grad(y, (x, a), grad)
    found = published._VaryingAllPole.apply(x, a)
    torch.testing.assert_close(found, y)
    torch.testing.assert_close(torch.autograd.grad(found, (x, a), grad), expected)
