"""Whether model, loss and data fit each other, told before training."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from nablafx.effects import Effect
from nablafx.effects.base import WHOLE
from nablafx.errors import UserError
from nablafx.training.losses import WeightedSum

# the memory of a device is measured to some milliseconds, and what is far down in it matters little
_LONGER, _MARGIN_MS = 1.5, 20.0


class HandshakeError(UserError, ValueError):
    """Model, loss and data do not fit each other."""


def check_data(effect: Effect, data: Any, tbptt_samples: int | None) -> None:
    """An effect and a data module, or None.

    Raises:
        HandshakeError: the effect does not take the device's controls, or the pieces that training cuts.
    """
    names = getattr(data, "control_names", None)
    if names is not None and len(names) != effect.num_controls:
        raise HandshakeError(
            f"this data set has {len(names) or 'no'} controls ({', '.join(names) or 'data.controls: none'}), and "
            f"the effect {type(effect).__name__} takes {effect.num_controls or 'none'}"
        )
    frame = effect.frame_size
    for name, samples in (("model.tbptt_samples", tbptt_samples or 0), ("data.context", getattr(data, "context", 0))):
        if samples and frame == WHOLE:
            raise HandshakeError(
                f"{name} is {samples}, but {type(effect).__name__} with cold_start takes a sequence as a "
                "whole; leave it out, or build it with cold_start: false"
            )
        if samples % frame:
            raise HandshakeError(
                f"{name} is {samples}, but {type(effect).__name__} looks ahead within blocks of {frame} "
                f"samples and is cut between them; use a multiple of {frame}, or build it with lookahead: false"
            )


def compare_memory(effect: Effect, data: Any, sample_rate: int) -> None:
    """Warn where the recordings go on for clearly longer with what was played than the effect can hear back."""
    memory_ms, field = getattr(data, "memory_ms", None), effect.receptive_field
    if memory_ms is None or field is None:
        return
    field_ms = 1000 * field / sample_rate
    if memory_ms > _LONGER * field_ms + _MARGIN_MS:
        rank_zero_warn(
            f"the recordings go on for {memory_ms:.0f} ms with what was played (an echo, or a tail after the dry audio "
            f"stops), and {type(effect).__name__} hears {field_ms:.0f} ms back: it cannot learn that; take a model "
            "with a longer receptive field, an LSTM or an S4, or record without the delay or reverb"
        )


def check_loss(loss: WeightedSum, data: Any, tbptt_samples: int | None, device: torch.device) -> None:
    """The loss and the shortest pieces that it is given.

    Raises:
        HandshakeError: they are too short, or something in it is no loss.
    """
    segment = getattr(data, "segment_length", 0)
    if segment:
        silence = torch.zeros(1, 1, min(tbptt_samples or segment, segment), device=device)
        try:
            loss(silence, silence)
        except ValueError as error:
            raise HandshakeError(f"data.segment_length or model.tbptt_samples is too short: {error}") from error
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError) as error:
            names = ", ".join(type(term).__name__ for term in loss.losses.values())
            raise HandshakeError(
                f"model.loss of {names} cannot compare audio (1, 1, T) with audio ({str(error)[:200]}); name losses of "
                "(prediction, target)"
            ) from error
