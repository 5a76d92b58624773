"""Oracles: numpy formulas on all the audio at once in float64, torchmetrics, auraloss."""

import copy

import auraloss
import numpy as np
import pytest
import torch
import torchmetrics.regression

from nablafx.training.metrics import Correlation, Cosine, default_metrics

KEYS = {"mae", "mape", "mse", "cosine", "logcosh", "esr", "dc", "mrstft"}


@pytest.fixture
def batches():
    """Unequal batches of unequal lengths and levels, as (prediction, target)."""
    generator = torch.Generator().manual_seed(0)

    def batch(items, samples, level):
        target = level * torch.randn(items, 1, samples, generator=generator)
        noise = torch.randn(items, 1, samples, generator=generator)
        return 0.9 * target + 0.1 * level * noise + 0.02, target

    return [batch(4, 3000, 0.5), batch(1, 3000, 0.01), batch(2, 1500, 0.1)]


def items_of(batches):
    """(prediction, target) of every item as float64 arrays."""
    pairs = (pair for batch in batches for pair in zip(*batch, strict=True))
    return [tuple(signal[0].double().numpy() for signal in pair) for pair in pairs]


def over_everything(batches):
    """Each metric by its formula."""
    items = items_of(batches)
    prediction, target = (np.concatenate(signals) for signals in zip(*items, strict=True))
    error = target - prediction
    stft = auraloss.freq.MultiResolutionSTFTLoss()
    lengths = [len(t) for _, t in items]
    distances = [stft(*(torch.from_numpy(x)[None, None].float() for x in item)).item() for item in items]
    return {
        "mae": np.abs(error).mean(),
        "mape": (np.abs(error) / np.maximum(np.abs(target), 1.17e-6)).mean(),
        "mse": (error**2).mean(),
        "cosine": np.mean([p @ t / np.sqrt((p @ p) * (t @ t)) for p, t in items]),
        "logcosh": np.log(np.cosh(error)).mean(),
        "esr": (error**2).sum() / (target**2).sum(),
        "dc": sum(len(t) * (t - p).mean() ** 2 for p, t in items) / (target**2).sum(),
        "mrstft": np.average(distances, weights=lengths),
    }


def updated(metrics, batches):
    for prediction, target in batches:
        metrics.update(prediction, target)
    return metrics


def as_floats(values):
    return {name: value.item() for name, value in values.items()}


def test_an_epoch_is_one_pass_over_all_audio(batches):
    assert set(default_metrics().keys()) == KEYS
    values = updated(default_metrics(), batches).compute()
    assert as_floats(values) == pytest.approx(over_everything(batches), rel=1e-5)


def test_batching_does_not_matter(batches):
    one_by_one = [(p[i : i + 1], t[i : i + 1]) for p, t in batches for i in range(len(t))]
    values = as_floats(updated(default_metrics(), batches).compute())
    assert as_floats(updated(default_metrics(), one_by_one).compute()) == pytest.approx(values, rel=1e-5)


def test_processes_add_their_sums(batches):
    """What torchmetrics does with the gathered states under DDP, here with a second state in hand."""
    first, second = updated(default_metrics(), batches[:1]), updated(default_metrics(), batches[1:])
    for name, metric in first.items():
        assert set(metric._reductions.values()) == {torchmetrics.utilities.dim_zero_sum}
        metric.merge_state(second[name])
    assert as_floats(first.compute()) == pytest.approx(over_everything(batches), rel=1e-5)


def test_gathers_as_under_ddp(batches):
    whole = as_floats(updated(default_metrics(), batches).compute())
    ranks = [updated(default_metrics(), part) for part in (batches[:1], batches[1:])]
    for name, metric in ranks[0].items():
        other = iter([getattr(ranks[1][name], state) for state in metric._defaults])
        metric.dist_sync_fn = lambda mine, group=None, other=other: [mine, next(other)]
        metric.distributed_available_fn = lambda: True
        assert metric.compute().item() == pytest.approx(whole[name], rel=1e-5)


def test_state_is_a_few_scalars(batches):
    metrics = updated(default_metrics(), batches * 3)
    states = [getattr(m, state) for m in metrics.values() for state in m._defaults]
    assert all(state.numel() == 1 for state in states)
    metrics.reset()
    assert as_floats(updated(metrics, batches).compute()) == pytest.approx(over_everything(batches), rel=1e-5)


def test_no_update_waits_for_the_accelerator():
    """On the meta device every read-back of a value raises."""
    x = torch.zeros(2, 1, 3000, device="meta")
    for metric in (default_metrics(), Correlation()):
        metric.to("meta").update(x, x)


def test_long_epochs_stay_exact():
    """Sums of 2e9 samples, where float32 counts in steps of 128."""
    metric = default_metrics()["mae"]
    share, count = torch.tensor(0.1 * 1_443_210), 1_443_210
    metric.terms = lambda prediction, target: (share, count)
    for _ in range(1500):
        metric.update(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    assert metric.compute().item() == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mae", torchmetrics.regression.MeanAbsoluteError()),
        ("mape", torchmetrics.regression.MeanAbsolutePercentageError()),
        ("mse", torchmetrics.regression.MeanSquaredError()),
        ("logcosh", torchmetrics.regression.LogCoshError()),
        ("cosine", torchmetrics.regression.CosineSimilarity(reduction="mean")),
    ],
)
def test_agrees_with_torchmetrics(batches, name, theirs):
    batches = batches[:1] * 2
    shape = (lambda x: x.squeeze(1)) if name == "cosine" else torch.flatten
    for prediction, target in batches:
        theirs.update(shape(prediction), shape(target))
    ours = updated(default_metrics(), batches)[name].compute()
    assert ours.item() == pytest.approx(theirs.compute().item(), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0, 300.0])
def test_log_cosh_is_exact_for_small_and_large_errors(scale):
    error = scale * torch.randn(1, 1, 5000, generator=torch.Generator().manual_seed(0))
    metric = default_metrics()["logcosh"]
    metric.update(error, torch.zeros_like(error))
    magnitude = np.abs(error.double().numpy())
    series = magnitude**2 / 2 - magnitude**4 / 12
    exact = magnitude + np.log1p(np.exp(-2 * magnitude)) - np.log(2)
    want = np.where(magnitude < 1e-3, series, exact).mean()
    assert metric.compute().item() == pytest.approx(want, rel=1e-5)


def test_a_perfect_first_batch_merges_nothing(batches):
    """With compute groups, MAE, MSE and log-cosh would share one state from here on."""
    target = batches[0][1]
    metrics = updated(default_metrics(), [(target, target), *batches])
    assert as_floats(metrics.compute()) == pytest.approx(over_everything([(target, target), *batches]), rel=1e-5)


def test_silence(batches):
    prediction, target = batches[0]
    cosine = Cosine()
    cosine.update(prediction, torch.zeros_like(target))
    cosine.update(torch.zeros_like(prediction[:2]), target[:2])
    cosine.update(target[:2], target[:2])
    assert cosine.compute().item() == pytest.approx(0.5)
    esr = default_metrics()["esr"]
    esr.update(torch.zeros_like(target), torch.zeros_like(target))
    assert esr.compute().isnan()


def test_takes_slices_and_half_precision(batches):
    prediction, target = batches[0]
    halves = [(prediction[..., 500:].half(), target[..., 500:].half())]
    want = over_everything([tuple(x.double() for x in halves[0])])
    assert as_floats(updated(default_metrics(), halves).compute()) == pytest.approx(want, rel=1e-5)


def test_correlation_tells_polarity(batches):
    prediction, target = (np.concatenate(x) for x in zip(*items_of(batches), strict=True))
    want = prediction @ target / np.sqrt((prediction @ prediction) * (target @ target))
    upright = updated(Correlation(), batches)
    inverted = updated(Correlation(), [(-p, t) for p, t in batches])
    assert upright.compute().item() == pytest.approx(want, rel=1e-5)
    assert inverted.compute().item() == pytest.approx(-want, rel=1e-5)
    assert updated(Correlation(), [(t, t) for _, t in batches]).compute().item() == pytest.approx(1.0)


def test_refuses_what_broadcasting_would_hide():
    with pytest.raises(ValueError, match=r"MeanSquare: .*\(2, 1, 3000\) and the target \(2, 3000\)"):
        default_metrics()["mse"].update(torch.zeros(2, 1, 3000), torch.zeros(2, 3000))


def test_copies_are_independent(batches):
    """Lightning clones a collection for each of its stages."""
    metrics = updated(default_metrics(), batches[:1])
    other = updated(copy.deepcopy(metrics), batches[1:])
    assert as_floats(other.compute()) == pytest.approx(over_everything(batches), rel=1e-5)
    assert as_floats(metrics.compute()) == pytest.approx(over_everything(batches[:1]), rel=1e-5)
