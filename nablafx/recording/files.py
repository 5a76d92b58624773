"""Recordings read whole, and written whole or not at all."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from nablafx.data.audio import choose_channel
from nablafx.data.errors import Report
from nablafx.errors import UserError
from nablafx.writing import replacing

_EXACT = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24"}


class Recording(NamedTuple):
    """One channel of a file: samples (N,), float64, its rate in Hz and its subtype, as soundfile names it."""

    audio: np.ndarray
    rate: int
    subtype: str


def one_channel(path: Path, channel: str | int | None, report: Report) -> Recording | None:
    """Read one channel of a file that soundfile reads; None, and a problem in the report, for one that is of no use."""
    try:
        with soundfile.SoundFile(path) as file:
            index = choose_channel(file.channels, channel)
            audio = file.read(dtype="float64", always_2d=True)[:, index]
            rate, subtype = file.samplerate, file.subtype
    except (soundfile.SoundFileError, TypeError, OSError) as error:  # TypeError: it asks what a headerless .raw holds
        report.problem(path, f"cannot be read ({error}): export it again as wav or flac")
        return None
    except ValueError as error:
        report.problem(path, str(error).replace("`channel: left`, `channel: 1`", "--channel left, --channel 1"))
        return None
    if not len(audio):
        report.problem(path, "holds no samples: export it again")
    elif not np.isfinite(audio).all():
        report.problem(path, "has samples that are NaN or Inf: export it again")
    elif np.abs(audio).max() < 10 ** (-90 / 20):
        report.problem(path, "is silent (its peak is below -90 dBFS): look at cables and inputs, and record it again")
    else:
        return Recording(np.ascontiguousarray(audio), rate, subtype)
    return None


def exact_subtype(recording: Recording) -> str:
    """The subtype that keeps every sample of a recording, and that every player reads."""
    return "PCM_24" if recording.subtype in _EXACT else "DOUBLE" if recording.subtype == "DOUBLE" else "FLOAT"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place at the end, unless an error comes first.

    Raises UserError where it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{path} cannot be written ({error}): make room there, or name another place") from error


def channel_of(word: str) -> str | int:
    """What a word of the command line says of a channel: left, right or a number from 0."""
    if word in ("left", "right"):
        return word
    if word.isdigit():
        return int(word)
    raise ArgumentTypeError(f"{word!r}: give left, right or a number from 0")
