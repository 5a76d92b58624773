"""nablafx benchmark: what models cost as streams, and how far beyond real time they run, by block size and path."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nablafx.effects import Effect
from nablafx.errors import UserError, plain
from nablafx.export.costs import macs, parameters, state_bytes
from nablafx.export.model import Facts, Model
from nablafx.export.paths import PATHS, NoPathError
from nablafx.export.reading import read_model
from nablafx.export.timing import Timing, measure
from nablafx.foreign import ForeignError, read_yaml
from nablafx.plots import plot_benchmark
from nablafx.shipped import find_config
from nablafx.training.build import build
from nablafx.training.files import png_bytes
from nablafx.writing import replacing

_SAMPLE_RATE = 48_000
_BLOCK_SIZES = (1, 16, 64, 256, 1024, 4096, 16_384)
# of devices whose nets need knobs
_NUM_CONTROLS = 2
_TELL_SECONDS = 10
_RATIO = "numba / frames"


class Result(NamedTuple):
    """A model with its timings.

    Attributes:
        timings: by path, of every block size.
        remarks: by path, why it was left out.
    """

    model: Model
    timings: dict[str, list[Timing]]
    remarks: dict[str, str]


def run(words: list[str]) -> None:
    """Run `nablafx benchmark WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    paths = _paths(arguments.paths)
    sizes = _sizes(arguments.block_sizes)
    models = [model_of(word, arguments.num_controls) for word in arguments.models]
    with _progress(len(models) * len(paths) * len(sizes)) as tell:
        results = [benchmark(model, paths, sizes, arguments.seconds, tell) for model in models]
    _print(results, sizes)
    if not any(result.timings for result in results):
        raise UserError(f"no path of {', '.join(paths)} can be timed for these models; name others with --paths")
    _write(results, Path(arguments.output), arguments.dark)


def benchmark(
    model: Model, paths: list[str], sizes: list[int], seconds: float, tell: Callable[[str], None] = lambda _: None
) -> Result:
    """Time a model on all paths; `tell` hears of every cell as it begins."""
    result = Result(model, {}, {})
    for path in paths:
        timings = []
        for size in sizes:
            tell(f"{model.name}, {path}, blocks of {size:,}")
            if path in result.remarks:
                continue
            try:
                timings.append(measure(model, PATHS[path], size, seconds))
            except NoPathError as error:
                result.remarks[path] = str(error)
        if timings:
            result.timings[path] = timings
    return result


def model_of(word: str, num_controls: int) -> Model:
    """A trained model from its files, or an untrained one as a shipped config says: model/tcn/45-s+tfilm.

    num_controls: knobs of the device, for configs that hear any.

    Raises:
        UserError: there is no such model and no such config.
    """
    path = Path(word)
    if path.exists() and path.suffix != ".yaml":
        return read_model(path)
    net, *overlays = word.split("+")
    content: dict[str, Any] = {}
    for name in (net, *(f"model/with/{overlay}" for overlay in overlays)):
        file = find_config(name)
        try:
            content = _merged(content, read_yaml(file))
        except ForeignError as error:
            raise UserError(f"{file} cannot be read ({error}); mend it") from error
    section = content.get("model")
    if not isinstance(section, dict) or "effect" not in section:
        raise UserError(
            f"{word} describes no effect; name a config of a model, such as model/tcn/45-s or a run's folder"
        )
    effect = _build(word, section["effect"], num_controls)
    names = tuple(f"k{n + 1}" for n in range(effect.num_controls))
    name = word.removeprefix("model/").removesuffix(".yaml")
    return Model(effect.eval().requires_grad_(False), _SAMPLE_RATE, names, name, section["effect"], Facts())


def _build(word: str, described: Any, num_controls: int) -> Effect:
    # a net that hears no knobs has none, whatever its device has; one that is made of knobs needs some
    for count in (num_controls, 0 if num_controls else _NUM_CONTROLS):
        try:
            return build(described, count)
        except (argparse.ArgumentError, TypeError, ValueError) as error:
            reason = error
    raise UserError(f"{word} cannot be built: {reason}") from reason


def _merged(below: Any, above: Any) -> Any:
    """Two configs, of which the second one has the last word."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


def _print(results: list[Result], sizes: list[int]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    costs = Table("model", title="What a stream costs", title_justify="left")
    for name in ("parameters", "MMAC/s", "state", "latency"):
        costs.add_column(name, justify="right")
    factors = Table("model", "path", title="Real-time factor: median (slowest call)", title_justify="left")
    for size in sizes:
        factors.add_column(f"{size:,}", justify="right")
    for result in results:
        name, facts = escape(plain(result.model.name)), _facts(result.model)
        state, latency = f"{facts['state_bytes']:,} B", f"{facts['latency']} samples"
        costs.add_row(name, f"{facts['parameters']:,}", f"{facts['macs'] / 1e6:.4g}", state, latency)
        for n, (path, cells) in enumerate(_rows(result)):
            factors.add_row("" if n else name, path, *cells)
        factors.add_section()
    console = Console()
    console.print(costs)
    console.print(factors)
    for (path, reason), names in _left_out(results).items():
        console.print(f"Without {path}: {escape(plain(f'{reason} ({names})'))}")


def _left_out(results: list[Result]) -> dict[tuple[str, str], str]:
    """Names of models by the path that they cannot go, and why."""
    found: dict[tuple[str, str], str] = {}
    for result in results:
        for remark in result.remarks.items():
            found[remark] = ", ".join(filter(None, [found.get(remark), result.model.name]))
    return found


def _rows(result: Result) -> Iterator[tuple[str, list[str]]]:
    """Names and cells of a model's rows."""
    for path, timings in result.timings.items():
        yield path, [f"{t.real_time_factor:.3g} ({t.worst_factor:.2g})" for t in timings]
    if {"numba", "frames"} <= result.timings.keys():
        pairs = zip(result.timings["numba"], result.timings["frames"], strict=True)
        yield _RATIO, [f"{fast.real_time_factor / slow.real_time_factor:.3g} times" for fast, slow in pairs]


def _facts(model: Model) -> dict[str, Any]:
    effect = model.effect
    per_second = model.sample_rate * macs(effect)
    return {
        "parameters": parameters(effect),
        "macs": per_second,
        "state_bytes": state_bytes(effect),
        "latency": model.latency,
    }


def _write(results: list[Result], folder: Path, dark: bool) -> None:
    columns = ["model", "sample_rate", *_facts(results[0].model), "path", *Timing._fields]
    curves = {
        result.model.name: {
            path: [(t.block_size, t.real_time_factor) for t in timings] for path, timings in result.timings.items()
        }
        for result in results
    }
    try:
        with replacing(folder / "benchmark.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for model, timings, _ in results:
                first = [model.name, model.sample_rate, *_facts(model).values()]
                for path, cells in timings.items():
                    writer.writerows([*first, path, *(f"{value:.6g}" for value in cell)] for cell in cells)
        with replacing(folder / "benchmark.png") as temporary:
            temporary.write_bytes(png_bytes(plot_benchmark(curves, dark=dark)))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error}; name another folder with --output") from error
    print(f"Written {folder / 'benchmark.csv'} and {folder / 'benchmark.png'}")


@contextmanager
def _progress(cells: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, which moves as a cell begins; elsewhere a line at most every 10 s."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=cells)
        done, told = -1, time.monotonic()

        def tell(cell: str) -> None:
            nonlocal done, told
            done += 1
            bar.update(task, description=escape(plain(cell)), completed=done)
            if not console.is_terminal and time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                print(f"{done} of {cells}: {plain(cell)}", file=sys.stderr, flush=True)

        yield tell


def _paths(given: str | None) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()] if given else list(PATHS)
    for name in names:
        if name not in PATHS:
            raise UserError(f"there is no path {name}; there are {', '.join(PATHS)}")
    return names


def _sizes(given: str | None) -> list[int]:
    if given is None:
        return list(_BLOCK_SIZES)
    try:
        sizes = [int(size) for size in given.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UserError(f"--block-sizes is {given!r}; it needs numbers of samples with commas between: 16,64,256")
    return sizes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx benchmark",
        description="Measure models as streams, on one thread: parameters, multiply-accumulates, state, latency, and "
        "the real-time factor (seconds of audio made in a second) by block size and path. Prints tables and writes "
        "benchmark.csv and benchmark.png.",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a run's folder, a checkpoint, a bundle, or a shipped config, untrained: model/tcn/45-s+tfilm",
    )
    parser.add_argument("--paths", metavar="LIST", help=f"with commas between (default: {','.join(PATHS)})")
    parser.add_argument("--block-sizes", metavar="LIST", help=f"samples (default: {','.join(map(str, _BLOCK_SIZES))})")
    parser.add_argument("--seconds", type=float, default=0.3, help="to time each cell for (default: %(default)s)")
    parser.add_argument(
        "--num-controls",
        type=int,
        default=0,
        help=f"knobs of the device, for configs that hear any (default: 0, or {_NUM_CONTROLS} where it takes some)",
    )
    parser.add_argument("--output", metavar="DIR", default=".", help="for the CSV and the picture (default: here)")
    parser.add_argument("--dark", action="store_true", help="light on dark")
    return parser
