"""Reading audio: any stretch of a file, one channel of it, at the data set's sample rate."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from nablafx.data.errors import DataError, LostAudioError
from nablafx.writing import cache_folder

_BLOCK = 1 << 18  # frames read at once where a whole file passes through: 1 MB a channel
# beyond them a header is damaged, and what is sized by it (a second of audio, a resampled copy) would have no bound
RATES_HZ = (1000, 1_000_000)
MOST_CHANNELS = 64


class Header(NamedTuple):
    """Of an audio file: its rate in Hz, and soundfile's name of how samples are stored."""

    samplerate: int
    channels: int
    frames: int
    subtype: str


class Track(NamedTuple):
    """One channel of an audio file, `frames` samples long, at the data set's sample rate."""

    path: Path
    channel: int
    frames: int


def choose_channel(channels: int, channel: str | int | None) -> int:
    """Index of the wanted channel; a mono file has only one and gives it whatever is asked.

    Raises ValueError (a line for the report) when a multi-channel file is met without a choice or lacks the
    channel.
    """
    if channels == 1:
        return 0
    if channel is None:
        raise ValueError(f"has {channels} channels, and one is modelled: name it (`channel: left`, `channel: 1`)")
    index = {"left": 0, "right": 1}[channel] if isinstance(channel, str) else channel
    if not 0 <= index < channels:
        raise ValueError(f"has {channels} channels, and channel {channel} is asked: give one from 0 to {channels - 1}")
    return index


def header(path: Path) -> Header:
    """What a file says of itself.

    Raises:
        soundfile.SoundFileError: it cannot be read.
        ValueError: it says what cannot be (a line for the report).
    """
    info = soundfile.info(path)
    low, high = RATES_HZ
    if not low <= info.samplerate <= high:
        raise ValueError(
            f"says that it is at {info.samplerate} Hz, and from {low} to {high} Hz are read: export it again"
        )
    if not 1 <= info.channels <= MOST_CHANNELS:
        raise ValueError(f"has {info.channels} channels, and up to {MOST_CHANNELS} are read: export those in use")
    return Header(info.samplerate, info.channels, info.frames, info.subtype)


def read(path: Path, channel: int, start: int, stop: int) -> np.ndarray:
    """Samples start to stop (float32, full scale is 1) of one channel.

    Raises:
        LostAudioError: the file is not there, or not to be read.
    """
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(start)
            return file.read(stop - start, dtype="float32", always_2d=True)[:, channel]
    except (OSError, soundfile.SoundFileError) as error:
        raise LostAudioError(_lost(path, str(error))) from error


def _lost(path: Path, reason: str) -> str:
    return (
        f"{path} can no longer be read ({reason}). Put it back, or look at the disk or network that holds it; then a "
        "training goes on with --ckpt_path last"
    )


def blocks(path: Path, channel: int, size: int) -> Iterator[np.ndarray]:
    """One channel of a file, float32, in blocks of `size` samples, so that its length costs no memory.

    Raises:
        ValueError: at its end, if its header claims more (a line for the report).
    """
    with soundfile.SoundFile(path) as file:
        for block in whole_blocks(file, size):
            yield block[:, channel]


def whole_blocks(file: soundfile.SoundFile, size: int) -> Iterator[np.ndarray]:
    """All channels, (T, C), as :func:`blocks`."""
    position = 0
    while len(block := file.read(min(size, file.frames - position), dtype="float32", always_2d=True)):
        position += len(block)
        yield block
    if position != file.frames:
        raise ValueError(f"ends after {position} of {file.frames} samples: copy it again, or export it again")


def track(path: Path, channel: int, sample_rate: int) -> Track:
    """The track of a checked file, resampled to `sample_rate` (Hz) once where its own rate differs."""
    info = soundfile.info(path)
    if info.samplerate == sample_rate:
        return Track(path, channel, info.frames)
    copy = resampled(path, sample_rate)
    return Track(copy, channel, soundfile.info(copy).frames)


def resampled(path: Path, sample_rate: int) -> Path:
    """A copy of a file at another rate, made on the first call and kept below ~/.cache (or $XDG_CACHE_HOME).

    The copy is named after the file's path, size, time and the rate, so an edited file is resampled anew; it
    appears under its name only when it is whole, so a stopped run and parallel runs leave nothing
    half-written.
    """
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{sample_rate}"
    cache = cache_folder("resampled")
    copy = cache / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.wav"
    if not copy.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(suffix=".part", dir=cache)
        except OSError as error:
            raise DataError(_unwritable(path, cache, sample_rate, error)) from error
        os.close(handle)
        try:
            _resample(path, Path(name), sample_rate)
            os.replace(name, copy)
        # soundfile asserts that all was written
        except (AssertionError, OSError, soundfile.SoundFileError) as error:
            raise DataError(_unwritable(path, cache, sample_rate, error)) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name)
    return copy


def _unwritable(path: Path, cache: Path, sample_rate: int, error: Exception) -> str:
    return (
        f"the copy of {path} at {sample_rate} Hz cannot be written into {cache} ({error or 'the disk is full'}): make "
        "room, set XDG_CACHE_HOME to a folder that can be written, or set data.sample_rate to the file's own rate"
    )


def _resample(path: Path, target: Path, sample_rate: int) -> None:
    import soxr  # loaded only where a rate differs

    with soundfile.SoundFile(path) as source:
        stream = soxr.ResampleStream(source.samplerate, sample_rate, source.channels, quality="VHQ")
        with soundfile.SoundFile(target, "w", sample_rate, source.channels, subtype="FLOAT", format="WAV") as sink:
            while len(block := source.read(_BLOCK, dtype="float32", always_2d=True)):
                sink.write(stream.resample_chunk(block, last=source.tell() == source.frames))


def free_memory(device: torch.device) -> int:
    """Bytes that an accelerator has left; 0 on a CPU, and on what does not say it."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


class FileStore:
    """Audio read from its file each time: constant memory, at some milliseconds an item."""

    def span(self, track: Track, start: int, stop: int) -> Tensor:
        """Samples start to stop of a track, (stop - start,).

        Raises:
            LostAudioError: the file is not there, not to be read, or shorter than it was.
        """
        audio = read(track.path, track.channel, start, stop)
        if len(audio) < stop - start:
            raise LostAudioError(_lost(track.path, f"it ends {stop - start - len(audio)} samples early"))
        return torch.from_numpy(np.ascontiguousarray(audio))


class MemoryStore:
    """Audio held in memory, on the CPU or on an accelerator, and sliced there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._audio: dict[Track, Tensor] = {}

    def load(self, track: Track) -> None:
        """Read a whole track, once."""
        if track not in self._audio:
            self._audio[track] = FileStore().span(track, 0, track.frames).to(self.device)

    def span(self, track: Track, start: int, stop: int) -> Tensor:
        """Samples start to stop of a loaded track, (stop - start,), on the store's device."""
        return self._audio[track][start:stop]
