"""Watchers of a run: losses that are no numbers, outputs that are upside down."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx.errors import UserError
from nablafx.processes import gathered

# correlation of output and target from which on an output counts as inverted; untrained ones are near zero
INVERTED = -0.3


class NonFiniteLossError(UserError, RuntimeError):
    """The loss is NaN or infinite; going on would lose the weights."""


class NonFiniteWatch:
    """Keeps losses where they are, so that looking at them can wait, and says of which step the first bad one was.

    On an accelerator every look stalls it; `look` is called at logging intervals and before anything is saved.
    """

    def __init__(self) -> None:
        self._noted: list[tuple[Tensor, int, list[str]]] = []

    def note(self, loss: Tensor, step: int, names: list[str]) -> None:
        """Note the loss (scalar tensor) of optimizer step `step` on the segments `names`."""
        self._noted.append((loss.detach(), step, names))

    def look(self, last_checkpoint: str) -> None:
        """Raise if a noted loss was not finite.

        Raises:
            NonFiniteLossError: names the step, its segments and the checkpoint to go on from.
        """
        if not self._noted:
            return
        noted, self._noted = self._noted, []
        bad = ~torch.stack([loss for loss, _, _ in noted]).isfinite()
        first = int(torch.where(bad.any(), bad.int().argmax(), -1))
        if first >= 0:
            _, step, own = noted[first]
            # all processes have the same losses, and look at them together
            names = [name for part in gathered(own) for name in part]
            raise NonFiniteLossError(
                f"the training loss became NaN or infinite at step {step}, on the segments {', '.join(names)}. "
                f"{last_checkpoint} Lower the learning rate (model.lr) or clip harder (model.gradient_clip_val), "
                "and check those segments."
            )


def check_validation_loss(total: float, step: int, last_checkpoint: str) -> None:
    """Raise NonFiniteLossError where the validation loss is not finite."""
    if not math.isfinite(total):
        raise NonFiniteLossError(
            f"the validation loss is {total} after step {step}: the weights are no longer numbers, or the loss "
            f"cannot take this audio. {last_checkpoint} Lower the learning rate (model.lr) or clip harder "
            "(model.gradient_clip_val)."
        )


def inversion_message(correlation: float, deaf_terms: list[str]) -> str:
    """What to tell the user of an output whose correlation to its target is below INVERTED."""
    cause = f" The loss terms {', '.join(deaf_terms)} cannot hear polarity." if deaf_terms else ""
    return (
        f"the output is inverted against the target (correlation {correlation:.2f}): it sounds alike, but cancels the "
        f"real device when mixed with it, and its ESR is near 4.{cause} Train again by our recipe, whose loss is ESR "
        "first (-c trainer/blackbox.yaml, tbptt.yaml or graybox.yaml, and no -c loss/…), or give the loss a term that "
        "hears polarity, with enough weight (model: {loss: {init_args: {terms: {esr: {weight: 1, loss: ESRLoss}}}}})."
    )
