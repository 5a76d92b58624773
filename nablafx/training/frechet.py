"""The distance between the set of target files and the set of predicted ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from nablafx.embeddings import Embedding, Gaussian, frechet_distance, load_embedding


class FrechetDistance(Callback):
    """Adds `fad_<embedding>` to what a test tells of all files, and sends it to the loggers as metrics/test/fad_….

    The Fréchet audio distance between targets and predictions, in an embedding: mel, which is always there, or vggish,
    panns, clap or afx-rep, whose weights are files to be got once. Figures of two embeddings do not compare.
    """

    def __init__(self, embeddings: Sequence[str] = ("mel",)) -> None:
        """
        Args:
            embeddings: names; none: [].

        Raises:
            EmbeddingError: as a test begins, for a name that is none, or weights that are not there.
        """
        self.embeddings = list(embeddings)
        self._networks: dict[str, Embedding] = {}
        self._sets: dict[str, tuple[Gaussian, Gaussian]] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._networks = {name: load_embedding(name) for name in self.embeddings}
        self._sets = {name: (Gaussian(net.size), Gaussian(net.size)) for name, net in self._networks.items()}

    def on_test_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        for name, network in self._networks.items():
            for seen, track in zip(self._sets[name], ("y", "prediction"), strict=True):
                seen.update(network(outputs[track][0], pl_module.sample_rate))

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        values = {}
        for name, (targets, predictions) in _of_all_processes(self._sets, trainer).items():
            values[f"fad_{name}"] = value = frechet_distance(targets, predictions)
            if math.isnan(value):
                few = min(targets.count, predictions.count)
                rank_zero_warn(f"fad_{name} needs two windows of audio or more, and the test files have {few}")
        pl_module.test_totals.update(values)
        if values and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics({f"metrics/test/{key}": v for key, v in values.items()}, trainer.global_step)
        self._networks, self._sets = {}, {}


def _of_all_processes(
    sets: dict[str, tuple[Gaussian, Gaussian]], trainer: Trainer
) -> dict[str, tuple[Gaussian, Gaussian]]:
    if trainer.world_size == 1:
        return sets
    gathered: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(gathered, sets)
    first, *rest = gathered
    return {
        name: (a.merged(part[name][0] for part in rest), b.merged(part[name][1] for part in rest))
        for name, (a, b) in first.items()
    }
