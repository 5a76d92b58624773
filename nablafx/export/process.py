"""nablafx process: audio files through a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import soundfile
from torch import Tensor

from nablafx.data.audio import header
from nablafx.errors import UserError, plain
from nablafx.export.arguments import add_model, knobs_of
from nablafx.export.automation import Automation, read_automation
from nablafx.export.model import Model
from nablafx.export.reading import read_model
from nablafx.export.rendering import format_of, render_file

# what soundfile opens by these endings; RAW has no header that would tell its rate
_OTHERS = {"AIF", "WAVE", "OPUS", "OGA"}


def run(words: list[str]) -> None:
    """Run `nablafx process WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    model = read_model(arguments.model, arguments.checkpoint)
    jobs = _jobs(Path(arguments.source), Path(arguments.target), arguments.overwrite)
    knobs = _knobs(model, arguments.controls, arguments.automation)
    _render(model, jobs, knobs)


def _render(model: Model, jobs: dict[Path, Path], knobs: Automation | Tensor | None) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    frames = {source: _frames(source) for source in jobs}
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:3.0f} %")
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task(plain(model.name), total=sum(frames.values()))
        for source, target in jobs.items():
            bar.update(task, description=plain(source.name))
            done = render_file(model, source, target, knobs, lambda count: bar.advance(task, count))
            told = plain(f"Written {target} ({done.seconds:.1f} s)")
            bar.console.print(told, markup=False, highlight=False, soft_wrap=True)
            if done.cut_peak is not None:
                bar.console.print(
                    f"  its loudest sample, {done.cut_peak:.2f} times full scale, was cut off; a .wav file holds it",
                    highlight=False,
                    soft_wrap=True,
                )


def _jobs(source: Path, target: Path, overwrite: bool) -> dict[Path, Path]:
    """The file to write for every file to read."""
    if source.is_dir():
        jobs = dict(_in_folder(source, target))
        if not jobs:
            raise UserError(f"there are no audio files in {source}")
    elif source.is_file():
        folder = target.is_dir() or not target.suffix
        jobs = {source: target / source.with_suffix(".wav").name if folder else target}
    else:
        raise UserError(f"there is no file and no folder {source}")
    for path in jobs.values():
        format_of(path)
    if len(set(jobs.values())) < len(jobs):
        raise UserError(f"two files in {source} have one name but for its ending, and would become one; rename one")
    there = [path for path in jobs.values() if path.exists()]
    same = [path for path in there for read in jobs if path.samefile(read)]
    if same:
        raise UserError(f"{same[0]} would be written over itself; name another file")
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UserError(f"{there[0]}{more} exists already; give --overwrite, or name another place")
    return jobs


def _in_folder(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    if target.exists() and not target.is_dir():
        raise UserError(f"{source} is a folder, and {target} is none")
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise UserError(f"{target} lies in {source}, and what is written there would be read the next time")
    known = (set(soundfile.available_formats()) | _OTHERS) - {"RAW"}
    for path in sorted(source.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
        if path.is_file() and not hidden and path.suffix.lstrip(".").upper() in known:
            yield path, (target / path.relative_to(source)).with_suffix(".wav")


def _frames(path: Path) -> int:
    """Of a file that can be read; all are asked before the first is rendered."""
    try:
        return header(path).frames
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise UserError(f"{path} {error}") from error


def _knobs(model: Model, controls: str | None, automation: str | None) -> Automation | Tensor | None:
    fixed = knobs_of(model, controls)
    if automation is None:
        return fixed
    names = () if fixed is None else model.control_names
    start = {} if fixed is None else dict(zip(names, fixed[0].tolist(), strict=True))
    return read_automation(automation, names, start)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx process",
        description="Render audio through a model: a file, or all files of a folder and those below it. Other sample "
        "rates are resampled and back; each channel goes through by itself.",
    )
    add_model(parser)
    parser.add_argument("source", metavar="IN", help="an audio file of any kind, or a folder")
    parser.add_argument(
        "target", metavar="OUT", help="a file, its ending says the format (.wav: 32-bit float); or a folder"
    )
    parser.add_argument(
        "--automation",
        metavar="FILE.csv",
        help="knobs over time: columns time (s) and names of knobs, linear between rows",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser
