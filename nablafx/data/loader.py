"""Training batches in an order that can be taken up again anywhere, and what several processes take of all items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler

from nablafx.data.dataset import IDLE, Clip, Clips
from nablafx.data.errors import DataError


class ResumableSampler(DistributedSampler):
    """A process's share of a shuffle that seed and epoch alone decide; its next pass leaves out the first `skip` items.

    The k-th batches of all processes together are the k-th batch that one process would have with as many items as
    they. No item comes twice. Where the last batch has fewer items than there are processes, an epoch goes without it.
    A DistributedSampler in a single process too: it owns its generator, and Lightning lets it pass as it is.

    Raises:
        DataError: there are fewer items than processes.
    """

    def __init__(self, dataset: Clips, processes: int, rank: int, seed: int, batch_size: int) -> None:
        super().__init__(dataset, processes, rank, shuffle=True, seed=seed)
        self.skip = 0
        self._items = len(dataset)
        last = self._items % (processes * batch_size)
        self._used = self._items - (last if last < processes else 0)
        if not self._used:
            raise DataError(
                f"there are {self._items} training segments for {processes} processes; take fewer devices, or a "
                "shorter data.segment_length"
            )

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self._items, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        share = order[: self._used][self.rank :: self.num_replicas][self.skip :]
        self.skip = 0
        return iter(share.tolist())

    def __len__(self) -> int:
        return len(range(self.rank, self._used, self.num_replicas))


class ResumableLoader(DataLoader):
    """A DataLoader whose state is how many batches of the epoch it has given; Lightning keeps it in checkpoints."""

    sampler: ResumableSampler
    batch_size: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._given = self.sampler.skip // self.batch_size
        for batch in super().__iter__():
            self._given += 1
            yield batch

    @property
    def _joined(self) -> int:
        """Items of one batch of every process."""
        return self.batch_size * self.sampler.num_replicas

    def state_dict(self) -> dict[str, int]:
        return {"batches": self._given, "of": len(self), "items": self._joined}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """
        Raises:
            DataError: the state is of the middle of an epoch whose batches were of another size.
        """
        given, items = state["batches"], state.get("items", self._joined)
        if given % state.get("of", len(self)) == 0:
            # after the last batch the next pass is another epoch's
            self.sampler.skip = 0
        elif items == self._joined:
            self.sampler.skip = given * self.batch_size
        else:
            raise DataError(
                f"the checkpoint is of the middle of an epoch in batches of {items} items, all devices together, and "
                f"here they are of {self._joined}: set data.batch_size so that devices times batch_size is {items}, or "
                "go on from a checkpoint of the end of an epoch"
            )


def shared(clips: list[Clip], processes: int, rank: int) -> tuple[list[Clip], DistributedSampler | None]:
    """What one of several processes takes of items that need no order: each item is of one process and comes once.

    Also a sampler which tells Lightning that they are dealt out; None for a single process. A process that gets none
    has an idle batch, for Lightning leaves out the hooks of one without batches, in which the others wait for it.
    """
    if processes == 1 or not clips:
        return clips, None
    share = clips[rank::processes] or [clips[0]._replace(name=IDLE, length=1)]
    return share, DistributedSampler(Clips(share), 1, 0, shuffle=False)
