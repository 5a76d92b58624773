"""Metrics of an epoch: sums over everything heard, in constant memory, whatever the batches.

Every metric is a quotient of sums, so unequal batches, and processes whose sums are added, give what one pass
over all the audio would; and an update never waits for the accelerator. torchmetrics' own do not all fit: its
CosineSimilarity keeps every prediction; its LogCoshError rounds errors below -70 dB of full scale to nothing
and copies a count to the device in each update; its MeanAbsoluteError refuses non-contiguous audio.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from nablafx.training.losses import MultiResolutionSTFT


def default_metrics() -> MetricCollection:
    """What validation and test report of pieces of audio; nablafx.training.perceptual has what needs whole files.

    No compute groups: torchmetrics would merge metrics whose sums agree after the first batch. To see that it
    reads them back from the accelerator, and after a perfect batch it takes MAE, MSE and log-cosh for one.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "mae": MeanAbsolute(),
        "mape": MeanAbsolutePercentage(),
        "mse": MeanSquare(),
        "cosine": Cosine(),
        "logcosh": LogCosh(),
        "esr": ErrorToSignal(),
        "dc": DC(),
        "mrstft": MeanSTFT(),
    }
    return MetricCollection(metrics, compute_groups=False)


def joined(metrics: MetricCollection) -> MetricCollection:
    """The same metrics, whose value of one batch is that of the batches of all processes."""
    for metric in metrics.values():
        metric.dist_sync_on_step = True
    return metrics


class LossSums(Metric):
    """The sums (size,) that the terms of a loss are made of; update: what a batch adds."""

    full_state_update = False
    sums: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.add_state("sums", default=torch.zeros(size), dist_reduce_fx="sum")

    def update(self, sums: Tensor) -> None:
        self.sums = self.sums + sums

    def compute(self) -> Tensor:
        return self.sums


class Sums(Metric):
    """value = Σ numerator / Σ denominator over all updates; NaN before anything was heard."""

    full_state_update = False
    sums: tuple[str, ...] = ("numerator", "denominator")
    numerator: Tensor
    denominator: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in self.sums:
            self.add_state(name, default=torch.zeros(()), dist_reduce_fx="sum")

    def add(self, *terms: Tensor | float) -> None:
        """Add to each of `sums`."""
        for name, term in zip(self.sums, terms, strict=True):
            setattr(self, name, getattr(self, name) + term)

    def compute(self) -> Tensor:
        return self.numerator / self.denominator


class SumsMetric(Sums):
    """Of pieces of audio; a subclass says what one batch adds.

    update: prediction and target, both (B, 1, T); T may vary between updates.
    """

    def update(self, prediction: Tensor, target: Tensor) -> None:
        if prediction.shape != target.shape:
            raise ValueError(
                f"{type(self).__name__}: the prediction is {tuple(prediction.shape)} and the target "
                f"{tuple(target.shape)}; they must be alike, (B, 1, T)"
            )
        self.add(*self.terms(prediction.float(), target.float()))

    def terms(self, prediction: Tensor, target: Tensor) -> tuple[Tensor | float, ...]:
        """What a batch adds to each of `sums`."""
        raise NotImplementedError


class MeanAbsolute(SumsMetric):
    """MAE = mean |y - ŷ| over all samples."""

    higher_is_better = False

    def terms(self, prediction, target):
        return (target - prediction).abs().sum(), target.numel()


class MeanAbsolutePercentage(SumsMetric):
    """MAPE = mean |y - ŷ| / max(|y|, 1.17e-6) over all samples, a fraction and not percents.

    Audio crosses zero, where this explodes: it ranks models of one data set and compares no two data sets.
    """

    higher_is_better = False

    def terms(self, prediction, target):
        return ((target - prediction).abs() / target.abs().clamp(min=1.17e-6)).sum(), target.numel()


class MeanSquare(SumsMetric):
    """MSE = mean (y - ŷ)² over all samples."""

    higher_is_better = False

    def terms(self, prediction, target):
        return (target - prediction).square().sum(), target.numel()


class LogCosh(SumsMetric):
    """mean log cosh(y - ŷ) over all samples: e²/2 for small errors, |e| - log 2 for large ones."""

    higher_is_better = False

    def terms(self, prediction, target):
        error = (target - prediction).abs()
        # the plain form loses small errors against its 1, and the exact one overflows for large errors
        small = torch.log1p(2.0 * torch.sinh(error.clamp(max=1.0) / 2.0).square())
        large = error + torch.log1p(torch.exp(-2.0 * error)) - math.log(2.0)
        return torch.where(error < 1.0, small, large).sum(), target.numel()


class Cosine(SumsMetric):
    """Mean over items of Σ yŷ / sqrt(Σ y² Σ ŷ²), every item as loud as the next.

    Items with a silent target do not count, for silence has no direction; a silent prediction counts 0.
    """

    higher_is_better = True

    def terms(self, prediction, target):
        heard = target.square().sum(dim=(-2, -1)) > 0
        return F.cosine_similarity(prediction.flatten(1), target.flatten(1)).sum(), heard.sum()


class ErrorToSignal(SumsMetric):
    """ESR = Σ (y - ŷ)² / Σ y² over all samples; NaN or infinite when every target was silent."""

    higher_is_better = False

    def terms(self, prediction, target):
        return (target - prediction).square().sum(), target.square().sum()


class DC(SumsMetric):
    """Σ_items T (mean_t (y - ŷ))² / Σ y²: the share of ESR that is a constant offset of each item."""

    higher_is_better = False

    def terms(self, prediction, target):
        offset = (target - prediction).mean(dim=-1)
        return target.shape[-1] * offset.square().sum(), target.square().sum()


class MeanSTFT(SumsMetric):
    """Mean of the multi-resolution STFT loss of each item, weighted by its number of samples.

    Item by item, for the loss pools a batch, and its value depends on which items happen to share one.
    """

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.loss = MultiResolutionSTFT()

    def terms(self, prediction, target):
        values = [self.loss(p, t) for p, t in zip(prediction.split(1), target.split(1), strict=True)]
        return target.shape[-1] * torch.stack(values).sum(), target.numel()


class Correlation(SumsMetric):
    """Σ yŷ / sqrt(Σ y² Σ ŷ²) over all samples: near 1 for a good model, near -1 for one upside down."""

    higher_is_better = True
    sums = ("product", "prediction_energy", "target_energy")
    product: Tensor
    prediction_energy: Tensor
    target_energy: Tensor

    def terms(self, prediction, target):
        return (prediction * target).sum(), prediction.square().sum(), target.square().sum()

    def compute(self) -> Tensor:
        return self.product / (self.prediction_energy.sqrt() * self.target_energy.sqrt())
