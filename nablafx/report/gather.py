"""What a page shows of finished runs: their facts, their audio, their figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from nablafx.errors import UserError
from nablafx.plots.stages import told_parameters
from nablafx.report.runs import Run
from nablafx.training.figures import FIGURES, FigureName, Painter, Subject, measured, stage_views
from nablafx.training.listening import Excerpt, excerpts, subject_of
from nablafx.training.load import Loaded, load

ABOUT: dict[FigureName, tuple[str, str]] = {
    "comparison": ("Target and prediction", "envelopes, the stretch with the largest error, spectrograms"),
    "response": ("Frequency response", "magnitude and phase from sine sweeps at several levels"),
    "distortion": ("Distortion and aliasing", "odd and even harmonics and what is inharmonic, over the frequency"),
    "curve": ("Transfer curve", "output over input for a slow sine"),
    "gain": ("Gain over time", "level of the output to that of the input, of target and prediction"),
    "stages": ("Stages", "response or curve, output and parameters of each stage"),
}


class Picture(NamedTuple):
    """A figure to be painted, light or dark, with its title and what it shows in words."""

    title: str
    about: str
    paint: Painter


class StageText(NamedTuple):
    """A stage of a gray box in words."""

    name: str
    kind: str
    parameters: list[str]


KINDS = ("input", "target", "prediction", "difference", "stage")


@dataclass
class Track:
    """One version of a stretch of audio (T,), of one of `KINDS`; `run` is the number of the run whose it is."""

    label: str
    kind: str
    audio: np.ndarray
    run: int | None = None


@dataclass
class Scene:
    """A stretch of a test file of one device, dry, wet, and as each run has it."""

    device: str
    name: str
    start: int
    sample_rate: int
    tracks: list[Track] = field(default_factory=list)

    def of(self, kind: str) -> list[Track]:
        return [track for track in self.tracks if track.kind == kind]


@dataclass
class Entry:
    """A run of the page.

    Attributes:
        label: short, and no other run's.
        note: why there is no audio, if there is none.
    """

    run: Run
    label: str
    config: str
    pictures: list[Picture] = field(default_factory=list)
    stages: list[StageText] = field(default_factory=list)
    note: str = ""


Scenes = dict[tuple[Any, ...], Scene]


def labels(runs: Sequence[Run]) -> list[str]:
    """A label a run: its model, with as much of device, trainer, seed and folder as keeps them apart."""
    parts = [
        (run.model, run.data, run.trainer, "" if run.seed is None else f"seed {run.seed}", str(run.folder))
        for run in runs
    ]
    kept = [p for p in range(1, 4) if len({row[p] for row in parts}) > 1]
    found = [" · ".join([row[0], *(row[p] for p in kept if row[p])]) for row in parts]
    return [text if found.count(text) == 1 else f"{text} · {row[4]}" for text, row in zip(found, parts, strict=True)]


def gather(number: int, run: Run, label: str, scenes: Scenes, seconds: float, count: int) -> Entry:
    """A run's part of the page; its audio joins that of the others in `scenes`.

    Raises:
        UserError: the model cannot be loaded.
    """
    loaded = load(run.folder)
    entry = Entry(run, label, (run.folder / "config.yaml").read_text())
    heard: list[Excerpt] = []
    try:
        heard = list(excerpts(loaded, seconds, count))
    except UserError as error:
        entry.note = str(error)
    for excerpt in heard:
        scene = _scene(scenes, run, excerpt, loaded.system.sample_rate)
        prediction, difference = excerpt.prediction, excerpt.y - excerpt.prediction
        scene.tracks.append(Track(f"Prediction, {label}", "prediction", _flat(prediction), number))
        scene.tracks.append(Track(f"Difference, {label}", "difference", _flat(difference), number))
    entry.pictures = list(_pictures(loaded, label, heard))
    if heard:
        _add_stages(entry, loaded, heard[0], scenes, number)
    return entry


def _scene(scenes: Scenes, run: Run, excerpt: Excerpt, sample_rate: int) -> Scene:
    key = (*run.device.values(), str(run.facts["channel"]), excerpt.name, excerpt.start, sample_rate)
    if key not in scenes:
        tracks = [Track("Dry", "input", _flat(excerpt.x)), Track("Target", "target", _flat(excerpt.y))]
        scenes[key] = Scene(run.data, excerpt.name, excerpt.start, sample_rate, tracks)
    return scenes[key]


def _pictures(loaded: Loaded, label: str, heard: Sequence[Excerpt]) -> Iterable[Picture]:
    subjects = [_subject(loaded, label, excerpt) for excerpt in heard] or [_subject(loaded, label, None)]
    for name in FIGURES:
        # only the comparison is of more than one file
        for subject in subjects if name == "comparison" else subjects[:1]:
            paint = measured(name, subject)
            if paint is not None:
                title, about = ABOUT[name]
                yield Picture(f"{title} · {subject.title}", about, paint)


def _subject(loaded: Loaded, label: str, excerpt: Excerpt | None) -> Subject:
    return subject_of(loaded, excerpt, label if excerpt is None else f"{label} · {excerpt.name}")


def _add_stages(entry: Entry, loaded: Loaded, excerpt: Excerpt, scenes: Scenes, number: int) -> None:
    scene = _scene(scenes, entry.run, excerpt, loaded.system.sample_rate)
    for view in stage_views(_subject(loaded, entry.label, excerpt)):
        entry.stages.append(StageText(view.name, view.kind, told_parameters(view)))
        scene.tracks.append(Track(f"After {view.name}, {entry.label}", "stage", view.audio, number))


def _flat(audio: Tensor) -> np.ndarray:
    return audio[0, 0].cpu().numpy()
