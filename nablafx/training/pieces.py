"""What of a batch is learned from, and the pieces that it is cut into."""

from __future__ import annotations

from torch import Tensor

from nablafx.data import Batch


def target_of(batch: Batch) -> Tensor:
    """The wet audio of a batch to train, validate or test on."""
    assert batch.y is not None, "only batches for predict come without wet audio"
    return batch.y


def pieces(a: Tensor, b: Tensor, size: int | None) -> list[tuple[Tensor, Tensor]]:
    """Cut both into pieces of `size` samples (None: one piece); a rest too short for its own goes with the last one."""
    length = a.shape[-1]
    size = size or length
    starts = list(range(0, max(length - size + 1, 1), size))
    stops = [*starts[1:], length]
    return [(a[..., i:j], b[..., i:j]) for i, j in zip(starts, stops, strict=True)]
