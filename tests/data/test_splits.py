"""Training and validation never touch, for any lengths, and depend on nothing but names and lengths."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nablafx.data import DataError
from nablafx.data.splits import Stretch, evenly, segment_starts, split_by_file, split_by_time

GUARD = 25


def random_lengths(seed: int) -> tuple[dict[Path, int], int, float]:
    random = np.random.default_rng(seed)
    segment = int(random.integers(1, 400))
    files = {Path(f"{index}.wav"): int(random.integers(1, 5000)) for index in range(random.integers(1, 6))}
    files[Path("long.wav")] = 2 * segment + GUARD + int(random.integers(0, 3000))
    return files, segment, float(random.uniform(0.01, 0.99))


@pytest.mark.parametrize("seed", range(100))
def test_time_split_keeps_the_guard_and_serves_both_sides(seed):
    frames, segment, fraction = random_lengths(seed)
    splits = split_by_time(frames, segment, GUARD, fraction)
    assert list(splits) == list(frames)
    for path, (train, val) in splits.items():
        assert train is not None
        if frames[path] < 2 * segment + GUARD:
            assert (train, val) == (Stretch(0, frames[path]), None)
            continue
        assert val is not None
        assert train.start == 0
        assert val.start - train.stop == GUARD
        assert val.stop == frames[path]
        assert train.stop >= segment
        assert segment_starts(train, segment)
        held_out = val.stop - val.start
        assert held_out % segment == 0
        assert held_out >= segment
        nearest = abs(held_out - fraction * frames[path]) <= segment / 2 + 1e-6
        assert nearest or held_out == segment or train.stop < 2 * segment


@pytest.mark.parametrize("seed", range(30))
def test_file_split_holds_out_whole_files_whatever_the_order(seed):
    frames, segment, fraction = random_lengths(seed)
    frames[Path("other.wav")] = segment
    splits = split_by_file(frames, segment, fraction)
    assert splits == split_by_file(dict(reversed(frames.items())), segment, fraction)
    usable = [path for path in frames if frames[path] >= segment]
    held_out = [path for path in usable if splits[path].val]
    assert 1 <= len(held_out) <= len(usable) - 1
    for path, (train, val) in splits.items():
        assert (train or val) == Stretch(0, frames[path])
        assert (train is None) != (val is None)


@pytest.mark.parametrize("seed", range(30))
def test_segments_are_hops_and_leave_less_than_half_a_segment(seed):
    random = np.random.default_rng(seed)
    segment, start = (int(value) for value in random.integers(1, 100, 2))
    stretch = Stretch(start, start + int(random.integers(0, 1000)))
    starts = segment_starts(stretch, segment)
    if stretch.stop - stretch.start < segment:
        assert starts == []
        return
    assert starts[0] == start
    assert all(later - earlier == segment for earlier, later in pairwise(starts[:-1]))
    assert starts[-1] + segment <= stretch.stop
    assert stretch.stop - starts[-1] - segment < segment / 2
    assert len(starts) == len(set(starts))


def test_a_known_case():
    """80 samples of 10, a fifth of them held out: two whole segments, and 5 between."""
    (split,) = split_by_time({Path("a"): 80}, 10, 5, 0.2).values()
    assert split == (Stretch(0, 55), Stretch(60, 80))
    assert segment_starts(split.train, 10) == [0, 10, 20, 30, 40, 45]
    assert segment_starts(split.val, 10) == [60, 70]


def test_too_short_for_both_sides_says_what_would_work():
    frames = {Path("a.wav"): 224, Path("b.wav"): 100}
    with pytest.raises(DataError, match=r"longest is a\.wav with 224 samples: give a segment_length of 99 or less"):
        split_by_time(frames, 100, GUARD, 0.1)
    assert split_by_time(frames, 99, GUARD, 0.1)[Path("a.wav")].val is not None
    with pytest.raises(DataError, match="record longer files"):
        split_by_time({Path("a.wav"): GUARD}, 100, GUARD, 0.1)


def test_one_file_cannot_be_split_by_file():
    with pytest.raises(DataError, match="split: time"):
        split_by_file({Path("a.wav"): 500, Path("b.wav"): 50}, 100, 0.1)


@pytest.mark.parametrize("total", [1, 2, 7, 100])
def test_evenly_spaced_indices(total):
    assert evenly(total, total) == list(range(total))
    for count in range(1, total + 1):
        chosen = evenly(total, count)
        assert len(set(chosen)) == count
        assert 0 <= chosen[0] <= chosen[-1] < total
        steps = np.diff(chosen)
        assert steps.max(initial=0) - steps.min(initial=total) <= 1
    assert evenly(9, 3) == [1, 4, 7]
