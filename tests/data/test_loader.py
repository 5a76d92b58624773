"""What each of several processes gets of the items: in training, and where they are only heard."""

from __future__ import annotations

import itertools
import math

import pytest

from nablafx.data.audio import Track
from nablafx.data.dataset import IDLE, Clip, Clips
from nablafx.data.errors import DataError
from nablafx.data.loader import ResumableLoader, ResumableSampler, shared


def clips(count: int) -> list[Clip]:
    return [Clip(Track("x.wav", 0, 9), None, n, 4, (), str(n)) for n in range(count)]


def loader(count: int, processes: int, rank: int, batch_size: int, epoch: int = 0) -> ResumableLoader:
    items = Clips(clips(count))
    sampler = ResumableSampler(items, processes, rank, 3, batch_size)
    sampler.set_epoch(epoch)
    return ResumableLoader(items, batch_size=batch_size, sampler=sampler, collate_fn=lambda c: [one.name for one in c])


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("count", range(3, 26))
def test_batches_of_all_processes_are_those_of_one(count, processes):
    """Also at uneven ends; a rest with too few items for all is left out of the epoch."""
    alone = [sorted(batch) for batch in loader(count, 1, 0, 2 * processes, epoch=5)]
    parts = [list(loader(count, processes, rank, 2, epoch=5)) for rank in range(processes)]
    together = [sorted(itertools.chain(*batches)) for batches in zip(*parts, strict=True)]
    if 0 < count % (2 * processes) < processes:
        assert len(alone.pop()) < processes
    assert together == alone
    assert [len(loader(count, processes, rank, 2)) for rank in range(processes)] == [len(alone)] * processes


def test_fewer_segments_than_processes_are_refused():
    with pytest.raises(DataError, match="2 training segments for 3 processes"):
        loader(2, 3, 0, 4)


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_items_are_dealt_out_once_and_none_twice(count):
    parts = [shared(clips(count), 3, rank) for rank in range(3)]
    dealt = [clip for share, sampler in parts for clip in map(share.__getitem__, sampler)]
    assert sorted(clip.name for clip in dealt if clip.name != IDLE) == [str(n) for n in range(count)]
    # Lightning leaves out what a process without batches should do
    assert all(len(share) == max(math.ceil((count - rank) / 3), 1) for rank, (share, _) in enumerate(parts))
    assert shared(clips(count), 1, 0) == (clips(count), None)


def resumed(state: dict[str, int], processes: int, batch_size: int) -> list[list[str]]:
    again = loader(24, processes, 0, batch_size)
    again.load_state_dict(state)
    return list(again)


def test_the_middle_of_an_epoch_goes_on_with_as_many_processes_as_give_the_same_batches():
    whole, joined = list(loader(24, 2, 0, 4)), list(loader(24, 1, 0, 8))
    begun = loader(24, 2, 0, 4)
    given = iter(begun)
    next(given)
    state = begun.state_dict()
    assert resumed(state, 2, 4) == whole[1:]
    assert resumed(state, 1, 8) == joined[1:]
    with pytest.raises(DataError, match=r"batches of 8 items, all devices together, and here they are of 4.*is 8"):
        resumed(state, 1, 4)
    assert resumed({"batches": 1}, 1, 8) == joined[1:]  # as it was written before


def test_the_end_of_an_epoch_goes_on_with_any_number():
    begun = loader(24, 2, 0, 4)
    list(begun)
    assert resumed(begun.state_dict(), 1, 4) == list(loader(24, 1, 0, 4))
