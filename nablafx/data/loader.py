"""Training batches in an order that can be taken up again anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, DistributedSampler


class ResumableSampler(DistributedSampler):
    """A shuffle that seed and epoch alone decide; its next pass leaves out the first `skip` items.

    A DistributedSampler in a single process too: it owns its generator, and Lightning lets it pass as it is.
    """

    def __init__(self, dataset: Dataset, processes: int, rank: int, seed: int) -> None:
        super().__init__(dataset, processes, rank, shuffle=True, seed=seed)
        self.skip = 0

    def __iter__(self) -> Iterator[int]:
        indices = list(super().__iter__())[self.skip :]
        self.skip = 0
        return iter(indices)


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

    def state_dict(self) -> dict[str, int]:
        return {"batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        # after the last batch the next pass is another epoch's
        self.sampler.skip = state["batches"] % len(self) * self.batch_size
