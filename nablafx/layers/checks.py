"""What everything that runs on audio asks of it."""

from __future__ import annotations

from torch import Tensor


def check_audio(x: Tensor, owner: object) -> None:
    """Raise ValueError, in the name of the owner's class, where x is no audio (B, 1, T) of at least one sample."""
    if x.dim() != 3 or x.shape[1] != 1 or x.shape[-1] < 1 or not x.is_floating_point():
        name = type(owner).__name__
        raise ValueError(f"{name}: x must be audio of shape (batch, 1, samples), got {tuple(x.shape)} of {x.dtype}")
