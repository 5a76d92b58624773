"""Metrics of a test that need whole files: level, dynamics, the gain over time, and aliasing.

What is below -70 dB counts as silence, and silence has a rule in each, so that no value is infinite. What cannot be
said of a file is NaN in its row and left out of the value over all files. A prediction that is not finite makes both
NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from nablafx.analysis import crest_factor_db, gain_trace, integrated_loudness, measure_distortion
from nablafx.analysis.gain import QUIETEST_DB, WINDOW_S
from nablafx.analysis.loudness import QUIETEST_LUFS
from nablafx.training.metrics import Sums

_LEAST_RATIO = 1e-20  # -200 dB: a logarithm needs some number
_LEAST_GAIN = 1e-6  # of a sine: an effect that leaves less of every one is silent


def file_metrics() -> MetricCollection:
    """lufs, crest, gain and asr: update(prediction=…, target=…, x=…, sample_rate=…, aliasing=…), by these names."""
    metrics: dict[str, Metric | MetricCollection] = {
        "lufs": LoudnessError(),
        "crest": CrestError(),
        "gain": GainError(),
        "asr": AliasingRatio(),
    }
    return MetricCollection(metrics, compute_groups=False)


class FileMetric(Sums):
    """Of whole files; a subclass says what one adds.

    update: prediction, target and dry x, (B, 1, T) each, and their sample rate in Hz. Each item is a file.
    """

    higher_is_better = False

    def update(self, prediction: Tensor, target: Tensor, x: Tensor, sample_rate: int) -> None:
        if not prediction.shape == target.shape == x.shape:
            raise ValueError(
                f"{type(self).__name__}: the prediction is {tuple(prediction.shape)}, the target "
                f"{tuple(target.shape)} and x {tuple(x.shape)}; they must be alike, (B, 1, T)"
            )
        for told, wanted, dry in zip(*(track.detach().float().cpu() for track in (prediction, target, x)), strict=True):
            self.add(*self.terms(told, wanted, dry, sample_rate))

    def terms(self, prediction: Tensor, target: Tensor, x: Tensor, sample_rate: int) -> tuple[float, float]:
        """What a file, (1, T) each, adds to numerator and denominator."""
        raise NotImplementedError


class LoudnessError(FileMetric):
    """Mean over files of |LUFS(ŷ) - LUFS(y)|, in LU. Silence counts as -70 LUFS, where the measure has its gate."""

    def terms(self, prediction, target, x, sample_rate):
        told, wanted = (
            # not by max(): of NaN it would make a number
            QUIETEST_LUFS if loudness == -math.inf else loudness
            for loudness in (integrated_loudness(track, sample_rate) for track in (prediction, target))
        )
        return abs(told - wanted), 1


class CrestError(FileMetric):
    """Mean over files of |crest factor of ŷ - that of y|, in dB. A file has no value where a peak is below -70 dB."""

    def terms(self, prediction, target, x, sample_rate):
        if any(float(track.abs().max()) < 10 ** (QUIETEST_DB / 20) for track in (prediction, target)):
            return 0.0, 0
        return abs(crest_factor_db(prediction) - crest_factor_db(target)), 1


class GainError(FileMetric):
    """Mean over windows of 20 ms of |gain of ŷ - gain of y|, in dB, both of them to the dry x: how well it compresses.

    Windows count where x is above -70 dB; wet audio below that is taken for it. A file without such a window, as one
    shorter than a window is, has no value.
    """

    def terms(self, prediction, target, x, sample_rate):
        if x.shape[-1] < round(WINDOW_S * sample_rate):
            return 0.0, 0
        dry = x[0].numpy()
        with np.errstate(invalid="ignore"):  # of a prediction that is infinite
            told, wanted = (
                gain_trace(dry, wet[0].numpy(), sample_rate, floor_db=QUIETEST_DB).gain_db
                for wet in (prediction, target)
            )
        heard = ~np.isnan(wanted)
        return float(np.abs(told - wanted)[heard].sum()), int(heard.sum())


class AliasingRatio(Sums):
    """10 log10 of the mean over files of their aliasing-to-signal ratio, in dB, -200 at least.

    update: `aliasing`, the ratio of powers at a file's knobs; None where an effect is silent: it has no value.
    """

    higher_is_better = False

    def update(self, aliasing: float | None) -> None:
        if aliasing is not None:
            self.add(aliasing, 1)

    def compute(self) -> Tensor:
        return 10 * torch.log10(super().compute().clamp(min=_LEAST_RATIO))


class AliasingMeter:
    """The aliasing-to-signal ratio of an effect, measured once for each setting of its knobs.

    24 sines of 0.7 s in one batch, as in the figure of distortion: 0.5 s for an LSTM of 32 on one core.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[float, ...], float | None] = {}

    def forget(self) -> None:
        """The effect has changed."""
        self._known.clear()

    def measure(
        self,
        render: Callable[[Tensor, Tensor | None], Tensor],
        controls: Tensor | None,
        sample_rate: int,
        device: torch.device,
    ) -> float | None:
        """Ratio of powers, or None where nothing comes out.

        Args:
            render: x (B, 1, T), controls (B, P) or None -> y (B, 1, T), from silence on.
            controls: (1, P), or None.
            sample_rate: Hz.
            device: where `render` takes x.
        """
        key = () if controls is None else tuple(controls[0].tolist())
        if key not in self._known:

            def run(x: Tensor) -> Tensor:
                return render(x.to(device), None if controls is None else controls[:1].expand(len(x), -1))

            found = measure_distortion(run, sample_rate)
            is_silent = np.abs(found.gain).max() < _LEAST_GAIN
            self._known[key] = None if is_silent else found.aliasing_to_signal
        return self._known[key]
