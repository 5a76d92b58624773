"""What the processes that train one model together know of each other; a single process pays nothing for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def count() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is; the first is 0."""
    return distributed.get_rank() if count() > 1 else 0


def place() -> tuple[int, int]:
    """How many there are, and which of them this is."""
    return count(), rank()


def summed(share: Tensor) -> Tensor:
    """The sum of the shares of all processes, in each of them. All of them have to call it.

    Its gradient is as many times that of the sum as there are processes: the mean of their gradients by the weights,
    which is what DistributedDataParallel makes of them, then is the gradient of what is computed from the sum.
    """
    return _Summed.apply(share) if count() > 1 else share


def gathered(value: T) -> list[T]:
    """The value of every process, in each of them."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def highest(value: int, device: torch.device) -> int:
    """The highest value of all processes, in each of them; `device` is where their backend moves tensors."""
    if count() == 1:
        return value
    shared = torch.tensor(value, device=device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return int(shared)


def told_by_first(find: Callable[[], T]) -> T:
    """What `find` gives in the first process, in each of them: the others wait for it, and do not call it."""
    if count() == 1:
        return find()
    told: list[Any] = [find() if rank() == 0 else None]
    distributed.broadcast_object_list(told)
    return told[0]


def copied_from_first(tensors: Iterable[Tensor]) -> None:
    """Give each of these the values that it has in the first process; all have them in the same order."""
    if count() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        total = share.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * count()
