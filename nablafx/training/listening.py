"""Stretches of audio that a model has not heard, through that model: to listen to, and to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nablafx.analysis.loudness import loudest
from nablafx.data import Batch, PairedAudioDataModule
from nablafx.data.errors import DataError
from nablafx.errors import UserError
from nablafx.training.figures import Subject
from nablafx.training.load import Loaded


class Excerpt(NamedTuple):
    """The loudest stretch of a file.

    Attributes:
        name: of the wet file.
        start: where in the file it begins, in samples.
        x, y, prediction: dry, wet and what the model makes of the file from its beginning on, (1, 1, T) each.
        controls: (1, P), or None.
        past: dry audio of the file before it, (1, 1, start).
    """

    name: str
    start: int
    x: Tensor
    y: Tensor
    prediction: Tensor
    controls: Tensor | None
    past: Tensor


def excerpts(loaded: Loaded, seconds: float, count: int) -> Iterator[Excerpt]:
    """Of up to `count` test files, evenly chosen, the loudest `seconds` of the wet audio; without test files, of
    validation.

    Raises:
        UserError: the data are not here, or not as they were.
    """
    system = loaded.system
    for batch in _batches(loaded, seconds, count):
        assert batch.y is not None  # test files have both sides
        length = max(round(seconds * system.sample_rate), 1)
        start = loudest(batch.y[0, 0], length)
        stretch = slice(start, start + length)
        # only what is heard, but from the beginning: the model has a memory
        prediction = system.render(batch.x[..., : stretch.stop], batch.controls)
        x, y, prediction = (audio[..., stretch] for audio in (batch.x, batch.y, prediction))
        yield Excerpt(batch.names[0], start, x, y, prediction, batch.controls, batch.x[..., :start])


def subject_of(loaded: Loaded, excerpt: Excerpt | None, title: str, controls: Tensor | None = None) -> Subject:
    """The model with an excerpt, if there is one, to be shown in figures.

    At its knobs, or at `controls` (1, P): then without wet audio, which is of other knobs. Without both, in the middle.
    """
    system, names = loaded.system, loaded.control_names
    plain = Subject(system.effect, system.render, system.sample_rate, None, None, controls, title)
    if excerpt is not None:
        plain = plain._replace(x=excerpt.x, past=excerpt.past)
        if controls is None:
            plain = plain._replace(y=excerpt.y, prediction=excerpt.prediction, controls=excerpt.controls)
    if plain.controls is None and names:
        plain = plain._replace(controls=torch.full((1, len(names)), 0.5))
    return plain._replace(title=f"{title}{_told(names, plain.controls)}")


def _told(names: Sequence[str], controls: Tensor | None) -> str:
    """', D 0.30 T 0.50' of (1, P); nothing for a device without knobs."""
    if controls is None:
        return ""
    return ", " + " ".join(f"{name} {value:.2f}" for name, value in zip(names, controls[0].tolist(), strict=True))


def _batches(loaded: Loaded, seconds: float, count: int) -> Iterator[Batch]:
    try:
        data = loaded.data()
        if data is None:
            raise UserError(f"{loaded.folder / 'config.yaml'} has no section data: its audio is not known")
        yield from _held_out(data, seconds, count)
    except (DataError, TypeError) as error:
        raise UserError(f"the data of {loaded.folder} are not here: {str(error).splitlines()[0]}") from error


def _held_out(data: PairedAudioDataModule, seconds: float, count: int) -> Iterator[Batch]:
    try:
        files = data.test_files(count)
        first = next(files)
    except (DataError, StopIteration):
        yield _first(data.excerpt(seconds))
        return
    yield first
    yield from files


def _first(batch: Batch) -> Batch:
    y, controls = (None if part is None else part[:1] for part in (batch.y, batch.controls))
    return Batch(batch.x[:1], y, controls, batch.names[:1], 0)
