"""Items and batches: which samples of which files an item is, and how items become tensors."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypedDict

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from nablafx.data.audio import Track

IDLE = ""  # name of an item that nobody asked for


class Batch(NamedTuple):
    """What a training, validation, test or prediction step gets.

    x: dry audio (B, 1, context + T), float32. y: wet audio of the same shape, or None where only an output is
    asked for. controls: the knobs (B, num_controls) in [0, 1], or None for a device without. names: one a
    item. context: samples at the start that are run and not scored; before a file's start they are silence.
    is_idle: there is nothing to do, and the process only keeps in step with the others.
    """

    x: Tensor
    y: Tensor | None
    controls: Tensor | None
    names: list[str]
    context: int

    @property
    def is_idle(self) -> bool:
        return self.names == [IDLE]


class Clip(NamedTuple):
    """One item: `length` samples from `start` of a dry track and of its wet one (None to predict)."""

    dry: Track
    wet: Track | None
    start: int
    length: int
    controls: tuple[float, ...]
    name: str


class HeardFile(TypedDict, total=False):
    """A wet file: samples, controls if there are any, and the stretches (start, stop) that train and validate."""

    name: str
    frames: int
    controls: tuple[float, ...]
    train: tuple[int, int] | None
    val: tuple[int, int] | None


class ClipBatch(NamedTuple):
    """Items that are still to be sliced, on the device that holds their audio."""

    clips: list[Clip]
    controls: Tensor | None
    context: int


class Clips(Dataset):
    """Items that are read only when collated, since a batch may be sliced on the accelerator instead."""

    def __init__(self, clips: list[Clip]) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Clip:
        return self._clips[index]


class Store(Protocol):
    """Where samples come from: files, or memory."""

    def span(self, track: Track, start: int, stop: int) -> Tensor: ...


def collate_unsliced(clips: list[Clip], context: int) -> ClipBatch:
    """Gather items without reading them; controls become (B, P), or None for a device without."""
    controls = torch.tensor([clip.controls for clip in clips]) if clips[0].controls else None
    return ClipBatch(clips, controls, context)


def collate(clips: list[Clip], store: Store, context: int) -> Batch:
    """Gather items of one length, read from the store."""
    return slice_batch(collate_unsliced(clips, context), store)


def slice_batch(batch: ClipBatch, store: Store) -> Batch:
    """Cut the items, each with `context` samples before it, out of the store."""
    clips, controls, context = batch
    x = torch.stack([_window(store, clip.dry, clip, context) for clip in clips])[:, None]
    wet = [_window(store, clip.wet, clip, context) for clip in clips if clip.wet]
    y = torch.stack(wet)[:, None] if wet else None
    return Batch(x, y, controls, [clip.name for clip in clips], context)


def _window(store: Store, track: Track, clip: Clip, context: int) -> Tensor:
    first = max(clip.start - context, 0)
    audio = store.span(track, first, clip.start + clip.length)
    return pad(audio, (context - clip.start + first, 0))
