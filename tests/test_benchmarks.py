"""The benchmarks: they run, and what they time beside each other computes the same."""

from __future__ import annotations

import importlib
import os
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


@pytest.fixture(scope="module")
def training(load) -> ModuleType:
    return load("benchmark_training")


# of a step over 2 x 4800 samples, by the list in training_bound: features by channel, and the bins of the spectra
SPECTRA = 6 * 8 * 2 * ((4800 // 120 + 1) * 513 + (4800 // 240 + 1) * 1025 + (4800 // 50 + 1) * 257)
BOUNDS = {
    "model/tcn/45-s": (3 * 1 + 3 * 16 + 2 * 16) + 4 * (3 * 16 + 3 * 16 + 2 * 16),
    "model/tcn/45-s+tfilm": (3 * 1 + 3 * 16 + 4 * 16) + 4 * (3 * 16 + 3 * 16 + 4 * 16),
    "model/gcn/45-s": (3 * 1 + 3 * 16 + 2 * 32) + 4 * (3 * 16 + 3 * 16 + 2 * 32),
    "model/s4/s": 4 * 12 * 16,
    "model/lstm/32": 6 * 32,
    "model/graybox/comp": 4 * 5,
    "scripts/dynamic-eq.yaml": 2 * 5,
}


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bound_of_a_step_counts_features_and_spectra(training, load, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    model = training.model_of(name, 0)
    found = load("training_bound").bytes_moved(model.effect, training.MultiResolutionSTFT(), 2, 4800, None)
    assert found == 4 * 2 * 4800 * BOUNDS[name] + SPECTRA


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        pytest.param("model/lstm/32", 4513, marks=pytest.mark.slow),
        pytest.param("scripts/dynamic-eq.yaml", 1081, marks=pytest.mark.slow),
        ("model/tcn/45-s+film", None),
    ],
)
def test_our_side_of_a_training_step(training, capsys, monkeypatch, tmp_path, name, parameters):
    """The figures of a row: what is known of them, and that none is missing."""
    monkeypatch.chdir(ROOT)
    table = tmp_path / "t.csv"
    sizes = ["--batch", "1", "--samples", "9600", "--rounds", "1", "--threads", "1"]
    options = training.parse([name, *sizes, "--csv", str(table)])
    plan = training.plan_of(name, options)
    row = training.measure(plan, options)
    assert plan.num_controls == (2 if name.endswith("film") else 0)
    assert row["parameters"] == (parameters or sum(p.numel() for p in training.model_of(name, 2).effect.parameters()))
    assert row["audio_rate"] == pytest.approx(0.2 / row["ours_s"])
    assert 0 < row["bound_s"] < row["ours_s"]
    assert row["bytes"] > 2**20
    training.report([row], options)
    assert f"{row['parameters']:,}" in capsys.readouterr().out
    assert name.partition("/")[2].removesuffix(".yaml") in table.read_text()


@pytest.mark.slow
@pytest.mark.skipif("NABLAFX_PUBLISHED_PYTHON" not in os.environ, reason="needs the published framework")
def test_both_sides_train_the_same_models(training, monkeypatch):
    """By their parameters, which `measure` compares; and within Lightning."""
    monkeypatch.chdir(ROOT)
    words = ["--batch", "1", "--samples", "9600", "--rounds", "1", "--fit", "1"]
    options = training.parse([*words, "--published", os.environ["NABLAFX_PUBLISHED_PYTHON"]])
    for name in training.MODELS:
        row = training.measure(training.plan_of(name, options), options)
        assert row["ratio"] > 0, name
        assert row["published_fit"] > 0, name


def test_tf32_keeps_ten_bits_of_mantissa(load):
    rounded = load("compare_precision").rounded
    exact = torch.tensor([0.0, 1.0, -1.0, 1 + 2**-10, -1025.0])
    torch.testing.assert_close(rounded(exact), exact, rtol=0, atol=0)
    ties = torch.tensor([1 + 2**-11, 1 + 3 * 2**-11])
    assert rounded(ties).tolist() == [1.0, 1 + 2**-9]
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert 2**-12 < ((rounded(x) - x) / x).abs().max() <= 2**-11


def test_tf32_rounds_forward_and_backward(load):
    script = load("compare_precision")
    torch.manual_seed(0)
    x, w, grad = torch.randn(8, 8), torch.randn(8, 8, requires_grad=True), torch.randn(8, 8)
    with script.TF32():
        y = x @ w
        (found,) = torch.autograd.grad(y, w, grad)
    a, b, g = (script.rounded(t.detach()) for t in (x, w, grad))
    torch.testing.assert_close(y.detach(), a @ b, rtol=0, atol=0)
    torch.testing.assert_close(found, a.T @ g, rtol=0, atol=0)


def test_checks_are_measured_beside_a_plain_read(load, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # the script sets it for good
    load("benchmark_checks").main(["--pairs", "1", "--minutes", "0.05"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [
        [kind, what] for kind in ("wav", "flac") for what in ("read", "check", "again")
    ]
    # what is known is not read again
    assert all(float(again[2]) < float(check[2]) for check, again in (rows[1:3], rows[4:6]))
