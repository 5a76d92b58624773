"""nablafx plot: the figures of a trained model, from its run or checkpoint."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from nablafx.errors import UserError, plain
from nablafx.foreign import read_table
from nablafx.plots import plot_history
from nablafx.training.controls import controls_of
from nablafx.training.figures import FIGURES, Subject, draw, stage_views
from nablafx.training.files import png_bytes
from nablafx.training.listening import excerpts, subject_of
from nablafx.training.load import Loaded, load
from nablafx.training.parameters import as_csv, as_text, parameter_rows
from nablafx.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HISTORY = "history"
PARAMETERS = "parameters"


def run(words: list[str]) -> None:
    """Run `nablafx plot WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    names = _names(arguments.figures)
    loaded = load(arguments.run, arguments.checkpoint)
    subject = _subject(loaded, arguments.controls, arguments.seconds)
    folder = Path(arguments.output) if arguments.output else loaded.folder / "plots"
    if PARAMETERS in names:
        names.remove(PARAMETERS)
        _tell_parameters(subject, folder / f"{PARAMETERS}.csv")
    for name, figure in _figures(names, subject, loaded, arguments.dark):
        if figure is None:
            print(f"No {name}: {_why_not(name, subject)}")
        else:
            _write(folder / f"{name}.png", png_bytes(figure))


def _tell_parameters(subject: Subject, path: Path) -> None:
    rows = parameter_rows(list(stage_views(subject)))
    if not rows:
        print(f"No {PARAMETERS}: {_why_not(PARAMETERS, subject)}")
        return
    print(plain(as_text(rows)))
    _write(path, as_csv(rows).encode())


def _write(path: Path, content: bytes) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}; name another folder with --output") from error
    print(plain(f"Written {path}"), flush=True)


def _figures(names: list[str], subject: Subject, loaded: Loaded, dark: bool) -> Iterator[tuple[str, Figure | None]]:
    for name in names:
        if name == HISTORY:
            history = read_history(loaded.folder / "history.csv")
            has_loss = any(key.endswith("/total") for key in history)
            yield name, plot_history(history, f"Training · {subject.title}", dark) if has_loss else None
        else:
            yield name, draw(name, subject, dark)


def read_history(path: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every filled cell of a history.csv, by column; nothing where there is none.

    Raises:
        UserError: it cannot be read.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    if not path.is_file():
        return found
    try:
        for _, row in read_table(path):
            step = row.pop("step", "")
            for key, cell in row.items():
                if step and cell:
                    value = float(cell)
                    if math.isfinite(value):
                        found.setdefault(key, []).append((int(step), value))
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({error}); remove it, or mend it") from error
    return found


def _names(given: str | None) -> list[str]:
    known = [*FIGURES, HISTORY, PARAMETERS]
    names = [name.strip() for name in given.split(",") if name.strip()] if given else list(known)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise UserError(
                f"there is no figure {name}; {f'did you mean {near[0]}? ' if near else ''}there are {', '.join(known)}"
            )
    return names


def _subject(loaded: Loaded, given: str | None, seconds: float) -> Subject:
    """The model at these knobs, with audio that it has not heard, where its data are here."""
    excerpt = None
    try:
        excerpt = next(excerpts(loaded, seconds, 1))
    except UserError as error:
        print(plain(f"Without audio: {error}"))
    controls = None if given is None else controls_of(given, loaded.control_names)
    return subject_of(loaded, excerpt, str(loaded.folder), controls)


def _why_not(name: str, subject: Subject) -> str:
    if name in ("stages", PARAMETERS):
        return "a network has no stages"
    if name == HISTORY:
        return "there is no history.csv with losses beside the checkpoint"
    return "it needs dry audio" if subject.x is None else "it needs wet audio at this setting of the knobs"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx plot",
        description="Draw what a trained model does: PNG files in RUN/plots, or where you say. Of a chain, the "
        "parameters too, as a table.",
    )
    parser.add_argument("run", help="folder of a run, or a checkpoint in one")
    parser.add_argument(
        "--figures", metavar="LIST", help=f"with commas between (default: {','.join([*FIGURES, HISTORY, PARAMETERS])})"
    )
    parser.add_argument("--output", metavar="DIR", help="default: plots in the run's folder")
    parser.add_argument("--controls", metavar="D=0.5,T=1", help="knobs; default: those of the audio shown")
    parser.add_argument("--seconds", type=float, default=5.0, help="of test audio (default: %(default)s)")
    parser.add_argument(
        "--checkpoint", choices=["best", "last"], default="best", help="of a run (default: %(default)s)"
    )
    parser.add_argument("--dark", action="store_true", help="light on dark")
    return parser
