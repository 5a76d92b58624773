"""What all processes of a training know."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from lightning.pytorch import Trainer

T = TypeVar("T")


def gathered(value: T, trainer: Trainer) -> list[T]:
    """The value of every process, in each of them."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def highest(value: int, trainer: Trainer) -> int:
    """The highest value of all processes, in each of them."""
    if trainer.world_size == 1:
        return value
    shared = torch.tensor(value, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return int(shared)
