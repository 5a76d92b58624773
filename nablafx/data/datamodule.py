"""The LightningDataModule over dry and wet recordings: one `data:` section of a YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.utils.data import DataLoader, DistributedSampler

from nablafx.data.arguments import check_arguments
from nablafx.data.audio import FileStore, MemoryStore, Track, free_memory, track
from nablafx.data.checks import check_pairs
from nablafx.data.dataset import Batch, Clip, Clips, HeardFile, collate, collate_unsliced, slice_batch
from nablafx.data.errors import Report
from nablafx.data.files import Pair, PairedFolders
from nablafx.data.inspection.cache import Cache
from nablafx.data.loader import ResumableLoader, ResumableSampler, shared
from nablafx.data.progress import progress
from nablafx.data.splits import GUARD_S, Split, evenly, segment_starts, split_by_file, split_by_time
from nablafx.processes import place, rank, told_by_first

_EXCERPT_ITEMS = 4
_ROOM = 4  # times the audio that must be free on an accelerator before it is kept there by itself


class PairedAudioDataModule(LightningDataModule):
    """Dry and wet recordings of one device, as segments to train on and whole files to test on.

    num_controls, control_names and sample_rate are known from construction on; audio is read and checked in
    setup. The context of a validation item may be audio that trains: it is run, and never scored.

    Args:
        dry: folder with trainval/ and test/: absolute, or below $DATA_ROOT or the current directory
        wet: folder with trainval/<SETTINGS>/ and test/<SETTINGS>/, or flat; or one SETTINGS folder
        controls: knobs to model, by letter or index; none models the device at one setting
        setting: the settings folder to use where there are several
        segment_length: samples of an item that are scored
        context: real samples before them that are run only; silence before a file's start
        batch_size: items in a training or validation batch; test and predict take whole files, one by one
        split: hold out the end of every file (time), or whole files (file)
        val_fraction: how much is held out
        data_to_use: fraction of the training segments
        preload: keep the audio in memory
        cache_on_device: keep the audio on the accelerator, and slice there; auto: where a quarter of what is free there
            holds that of the first stage
        sample_rate: Hz; files at another rate are resampled once, and the copy is kept
        channel: the one to use of files with several: left, right, or its index
        num_workers: processes that read ahead
        seed: order of the training segments

    Raises:
        DataError: from construction for folders and names, from setup for all problems of the audio together
    """

    def __init__(
        self,
        dry: str,
        wet: str,
        controls: list[str | int] | Literal["none"] | None = None,
        setting: str | None = None,
        segment_length: int = 144_000,
        context: int = 0,
        batch_size: int = 16,
        split: Literal["time", "file"] = "time",
        val_fraction: float = 0.1,
        data_to_use: float = 1.0,
        preload: bool = False,
        cache_on_device: bool | Literal["auto"] = "auto",
        sample_rate: int = 48_000,
        channel: Literal["left", "right"] | int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_arguments(segment_length=segment_length, context=context, batch_size=batch_size, split=split)
        check_arguments(val_fraction=val_fraction, data_to_use=data_to_use, sample_rate=sample_rate)
        self.folders = PairedFolders(dry, wet, None if controls == "none" else controls, setting)
        self.control_names = self.folders.control_names
        self.num_controls = len(self.control_names)
        self.segment_length, self.context, self.batch_size = segment_length, context, batch_size
        self.split, self.val_fraction, self.data_to_use = split, val_fraction, data_to_use
        self.preload, self.cache_on_device = preload, cache_on_device
        self.sample_rate, self.channel = sample_rate, channel
        self.num_workers, self.seed = num_workers, seed
        self._cache = Cache(self.folders.wet)
        self.memory_ms: float | None = None  # of the device, where recordings tell it
        self._pairs: dict[str, list[Pair]] = {}
        self._tracks: dict[Path, Track] = {}
        self._splits: dict[Path, Split] = {}
        self._memory = MemoryStore(torch.device("cpu"))
        self._cached: dict[torch.device, bool] = {}

    def setup(self, stage: str) -> None:
        """Find and check the files of a stage ("fit", "validate", "test", "predict"), once."""
        if stage == "predict":
            pairs = self._prepare("predict", self.folders.renders)
        else:
            part = "test" if stage == "test" else "trainval"
            pairs = self._prepare(part, partial(self.folders.pairs, part))
            if part == "trainval" and not self._splits:
                self._splits = self._split()
        # once for a device: another stage is prepared while one runs
        if self._device not in self._cached:
            self._cached[self._device] = self._fits_on_device(pairs, speak=stage == "fit")
        if self.preload or self._is_cached:
            self._load(pairs)

    def train_dataloader(self) -> DataLoader:
        """Segments of the training stretches, in an order that seed and epoch alone decide."""
        clips = self._training()
        sampler = ResumableSampler(Clips(clips), *place(), self.seed, self.batch_size)
        return self._loader(clips, self.batch_size, self.context, sampler)

    def val_dataloader(self) -> DataLoader:
        """Segments of the held-out stretches, in order."""
        return self._loader(self._segments("val"), self.batch_size, self.context)

    def test_dataloader(self) -> DataLoader:
        """One whole file a batch; the name is the wet file's."""
        return self._loader([self._whole(pair) for pair in self._pairs["test"]], 1, 0)

    def predict_dataloader(self) -> DataLoader:
        """One whole dry test file a batch, at each setting; the name is the output's path without suffix."""
        return self._loader([self._whole(pair) for pair in self._pairs["predict"]], 1, 0)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Slice the items where their audio is kept, when that is the accelerator."""
        return slice_batch(batch, self._memory) if self._is_cached else batch

    def audio(self, part: Literal["trainval", "test"]) -> list[HeardFile]:
        """The wet files of a part that a stage has prepared; those of trainval say what trains and what validates."""
        listed = []
        for pair in self._pairs.get(part, []):
            file = HeardFile(name=pair.name, frames=self._tracks[pair.dry].frames)
            if pair.controls:
                file["controls"] = pair.controls
            if part == "trainval":
                file["train"], file["val"] = self._splits[pair.dry]
            listed.append(file)
        return listed

    def excerpt(self, seconds: float) -> Batch:
        """Held-out audio to listen to: at most `seconds` of it, at up to four settings, without context.

        It is the start of the first file's validation stretch, the same on every call.
        """
        self.setup("validate")
        held_out = {path: split.val for path, split in self._splits.items() if split.val}
        dry, (start, stop) = next(iter(held_out.items()))
        pairs = [pair for pair in self._pairs["trainval"] if pair.dry == dry]
        chosen = [pairs[index] for index in evenly(len(pairs), min(len(pairs), _EXCERPT_ITEMS))]
        length = min(max(round(seconds * self.sample_rate), 1), stop - start)
        return collate([self._clip(pair, start, length) for pair in chosen], FileStore(), 0)

    def training_audio(self, seconds: float) -> Batch:
        """Segments that train, evenly chosen over files and settings: at most `seconds` of them, without context.

        The same on every call and in every process. A segment longer than that is cut.
        """
        self.setup("fit")
        clips, most = self._training(), max(round(seconds * self.sample_rate), 1)
        length = min(self.segment_length, most)
        chosen = evenly(len(clips), min(len(clips), most // length))
        return collate([clips[index]._replace(length=length) for index in chosen], FileStore(), 0)

    def test_files(self, count: int) -> Iterator[Batch]:
        """Up to `count` whole test files to listen to, evenly chosen, one at a time; the same on every call."""
        self.setup("test")
        pairs = self._pairs["test"]
        for index in evenly(len(pairs), min(len(pairs), count)):
            yield collate([self._whole(pairs[index])], FileStore(), 0)

    def _prepare(self, part: str, find: Callable[[Report], list[Pair]]) -> list[Pair]:
        """Pair, check and, where needed, resample the files of a part, unless that is done already.

        The first process does it, and the others take what it found.
        """
        if part not in self._pairs:
            pairs, channels, self.memory_ms = told_by_first(partial(self._check, find))
            self._read(pairs, channels)
            self._pairs[part] = pairs
        return self._pairs[part]

    def _check(self, find: Callable[[Report], list[Pair]]) -> tuple[list[Pair], dict[Path, int], float | None]:
        """The pairs, the channel of each file, and how long the device remembers."""
        report = Report()
        pairs = find(report)
        found = check_pairs(pairs, self.channel, report, self._cache)
        report.settle(speak=rank() == 0)
        channels = {path: found.usable(path).channel for path in _paths(pairs)}
        self._read(pairs, channels)
        return pairs, channels, found.memory_ms or self.memory_ms

    def _read(self, pairs: list[Pair], channels: dict[Path, int]) -> None:
        for path in progress([path for path in _paths(pairs) if path not in self._tracks], "Reading audio"):
            self._tracks[path] = track(path, channels[path], self.sample_rate)

    def _split(self) -> dict[Path, Split]:
        frames = {pair.dry: self._tracks[pair.dry].frames for pair in self._pairs["trainval"]}
        report = Report()
        for path, length in frames.items():
            if length < self.segment_length:
                report.note(
                    path,
                    f"has {length} samples, less than one segment ({self.segment_length}): it is not used",
                )
        report.settle(speak=rank() == 0)
        if self.split == "file":
            return split_by_file(frames, self.segment_length, self.val_fraction)
        return split_by_time(frames, self.segment_length, round(GUARD_S * self.sample_rate), self.val_fraction)

    def _training(self) -> list[Clip]:
        """What trains, of which `data_to_use` may leave out some."""
        clips = self._segments("train")
        return [clips[index] for index in evenly(len(clips), max(round(self.data_to_use * len(clips)), 1))]

    def _segments(self, side: Literal["train", "val"]) -> list[Clip]:
        clips = []
        for pair in self._pairs["trainval"]:
            stretch = getattr(self._splits[pair.dry], side)
            for start in segment_starts(stretch, self.segment_length) if stretch else []:
                clips.append(self._clip(pair, start, self.segment_length))
        return clips

    def _clip(self, pair: Pair, start: int, length: int) -> Clip:
        wet = self._tracks[pair.wet] if pair.wet else None
        name = f"{pair.name}@{start / self.sample_rate:.2f}s"
        return Clip(self._tracks[pair.dry], wet, start, length, pair.controls, name)

    def _whole(self, pair: Pair) -> Clip:
        return self._clip(pair, 0, self._tracks[pair.dry].frames)._replace(name=pair.name)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def _is_cached(self) -> bool:
        return self._cached.get(self._device, False)

    def _fits_on_device(self, pairs: list[Pair], speak: bool) -> bool:
        if self.cache_on_device != "auto":
            return self.cache_on_device
        needed, free = 4 * sum(self._tracks[path].frames for path in _paths(pairs)), free_memory(self._device)
        fits = _ROOM * needed <= free
        if free and speak:
            rank_zero_info(
                f"data.cache_on_device: {needed / 2**20:,.0f} MiB of audio {'are' if fits else 'are not'} kept on "
                f"{self._device}, where {free / 2**20:,.0f} MiB are free"
            )
        return fits

    def _load(self, pairs: list[Pair]) -> None:
        """Hold the tracks of the pairs in memory, on the trainer's device if the cache is to be there."""
        device = self._device if self._is_cached else torch.device("cpu")
        if self._memory.device != device:
            self._memory = MemoryStore(device)
        for path in progress(_paths(pairs), "Loading audio"):
            self._memory.load(self._tracks[path])

    def _loader(
        self, clips: list[Clip], batch_size: int, context: int, sampler: DistributedSampler | None = None
    ) -> DataLoader:
        gather: Callable = partial(collate, store=self._memory if self.preload else FileStore(), context=context)
        workers, kind = self.num_workers, ResumableLoader if sampler else DataLoader
        if sampler is None:
            clips, sampler = shared(clips, *place())
        if self._is_cached:
            gather, workers = partial(collate_unsliced, context=context), 0
        return kind(
            Clips(clips),
            batch_size=batch_size,  # by name: Lightning makes the loader anew for predict, from names
            sampler=sampler,
            num_workers=workers,
            collate_fn=gather,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(self.seed),  # else each epoch would draw from the global one
        )


def _paths(pairs: list[Pair]) -> list[Path]:
    return list(dict.fromkeys(path for pair in pairs for path in (pair.dry, pair.wet) if path))
