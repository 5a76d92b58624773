"""How a run's files are written: whole or not at all, and never outside their folder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from nablafx.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor


def inside(folder: str | Path, name: str, suffix: str) -> Path:
    """`folder/name` + `suffix`; ValueError where `name` would lead out of `folder`."""
    root = Path(folder).resolve()
    # Names may hold dots ("D000_T080.riffs"), so the suffix is appended: with_suffix would replace a part.
    path = (root / (name + suffix)).resolve()
    if not name or root not in path.parents:
        raise ValueError(f"The name {name!r} leads out of {folder}: it must be a relative path without '..'.")
    return path


def write_wav(path: Path, audio: Tensor, sample_rate: int) -> None:
    """Write audio (C, T) or (T,) as a 32-bit float wav file, so that nothing above full scale is lost."""
    with replacing(path) as temporary:
        # not by soundfile: it asserts where a disk is full
        temporary.write_bytes(wav_bytes(audio, sample_rate))


def wav_bytes(audio: Tensor, sample_rate: int) -> bytes:
    """The content of the file that `write_wav` would write."""
    import soundfile

    if audio.ndim not in (1, 2):
        raise ValueError(f"Audio has the shape {tuple(audio.shape)}; a file needs (channels, T) or (T,).")
    frames = np.ascontiguousarray(audio.detach().cpu().float().numpy().T)
    buffer = io.BytesIO()
    soundfile.write(buffer, frames, sample_rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """The content of a png file of a matplotlib figure, at the figure's own resolution."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


@contextmanager
def as_file(content: bytes, name: str) -> Iterator[str]:
    """A file of that name and content, for libraries that take a path; gone after the block."""
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        yield str(path)
