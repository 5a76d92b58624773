"""The Fréchet audio distance between all targets and all predictions of a test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from nablafx.embeddings import Embedding, Gaussian, embedding, frechet_distance, kind, resampled
from nablafx.processes import gathered


class FrechetDistance(Callback):
    """`fad_<embedding>` of a test: in the module's `test_totals`, and to every logger as "metrics/test/fad_…".

    It hears what `test_step` returns, {"y", "prediction"} as CPU tensors (1, T) at the module's `sample_rate`, or None,
    file by file in constant memory, and stands before :class:`TestReport` among the callbacks, which writes the totals.
    """

    def __init__(self, embeddings: Sequence[str] = ("mel",)) -> None:
        """
        Args:
            embeddings: mel needs nothing; vggish, panns_16k, panns_32k, clap and afx_rep need weights; none: [].

        Raises:
            UnknownEmbeddingError: one of them is none.
        """
        self.embeddings = list(dict.fromkeys(embeddings))
        for name in self.embeddings:
            kind(name)
        self._networks: dict[str, Embedding] = {}
        self._sides: dict[str, tuple[Gaussian, Gaussian]] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """
        Raises:
            WeightsError: weights are missing, or are not what is needed.
        """
        self._networks = {name: embedding(name).to(pl_module.device) for name in self.embeddings}
        self._sides = {name: (Gaussian(n.size), Gaussian(n.size)) for name, n in self._networks.items()}

    def on_test_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        for name, network in self._networks.items() if outputs else ():
            for side, audio in zip(self._sides[name], (outputs["y"], outputs["prediction"]), strict=True):
                side.update(_vectors(network, audio, pl_module))

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        sides = _from_all_processes(self._sides)
        distances = {f"fad_{name}": _distance(name, *pair) for name, pair in sides.items()}
        self._networks, self._sides = {}, {}
        if distances:
            pl_module.test_totals = {**pl_module.test_totals, **distances}
            for logger in trainer.loggers:
                logger.log_metrics(
                    {f"metrics/test/{key}": value for key, value in distances.items()}, pl_module.global_step
                )


def _vectors(network: Embedding, audio: Tensor, pl_module: Any) -> Tensor:
    return network(resampled(audio.float(), pl_module.sample_rate, network.sample_rate).to(pl_module.device))


def _distance(name: str, target: Gaussian, prediction: Gaussian) -> float:
    if target.count < 2:
        there = "is 1" if target.count == 1 else f"are {target.count}"
        rank_zero_warn(
            f"fad_{name} is not known: it needs 2 frames of the test files or more, and there {there}. "
            "Test on more or longer audio, or leave it out of fad.embeddings"
        )
        return math.nan
    return frechet_distance(target, prediction)


def _from_all_processes(sides: dict[str, tuple[Gaussian, Gaussian]]) -> dict[str, tuple[Gaussian, Gaussian]]:
    first, *others = gathered(sides)
    for other in others:
        for name, pair in first.items():
            for mine, theirs in zip(pair, other[name], strict=True):
                mine.merge(theirs)
    return first
