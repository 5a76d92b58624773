"""nablafx compare: finished runs as a table, on the terminal and in files."""

from __future__ import annotations

import argparse
from pathlib import Path

from nablafx.errors import UserError, plain
from nablafx.report.compare import Comparison, compare
from nablafx.report.runs import SHOWN, Run, known_metrics, read_runs
from nablafx.report.tables import as_csv, as_markdown, as_text


def run(words: list[str]) -> None:
    """Run `nablafx compare WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    from rich.console import Console

    arguments = _parser().parse_args(words)
    if not 0 < arguments.confidence < 1:
        raise UserError(f"--confidence is {arguments.confidence}; it needs a number between 0 and 1, such as 0.95")
    runs, skipped = read_runs(arguments.run)
    console = Console()
    if not console.is_terminal:
        console.width = 200
    for folder, reason in skipped.items():
        console.print(plain(f"Left out {folder}: {reason}"), markup=False, highlight=False, soft_wrap=True)
    if not runs:
        raise UserError("there is no finished run to compare; those above say what they miss")
    shown = _metrics(arguments.metrics, runs)
    comparison = compare(runs, shown, arguments.confidence)
    for part in as_text(comparison):
        console.print(part, highlight=False)
    every = compare(runs, list(dict.fromkeys([*shown, *known_metrics(runs)])), arguments.confidence)
    files = _write(Path(arguments.output), comparison, every)
    print(plain("\n".join(f"Written {path}" for path in files)))


def _metrics(given: str | None, runs: list[Run]) -> list[str]:
    known = known_metrics(runs)
    wanted = [name.strip() for name in given.split(",") if name.strip()] if given else [m for m in SHOWN if m in known]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UserError(f"--metrics: there is no {', '.join(unknown) or 'metric'}; the runs have {', '.join(known)}")
    return wanted


def _write(folder: Path, shown: Comparison, every: Comparison) -> list[Path]:
    from nablafx.plots.ranking import plot_ranking
    from nablafx.training.files import png_bytes
    from nablafx.writing import replacing

    rows = [
        (
            table.title,
            group.title,
            {m: group.values(m) for m in shown.metrics},
            group.spreads,
        )
        for table in shown.tables
        for group in table.groups
    ]
    contents = {
        "comparison.csv": as_csv(every).encode(),
        "comparison.md": as_markdown(shown).encode(),
        "comparison.png": png_bytes(plot_ranking(rows, shown.metrics, shown.confidence)),
    }
    try:
        for name, content in contents.items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error}; name another folder with --output") from error
    return [folder / name for name in contents]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx compare",
        description="Compare tested runs: mean, spread and confidence interval over the seeds of a model, and ranks. "
        "Runs of a device on other audio, or another split of it, are kept apart.",
    )
    parser.add_argument("run", nargs="+", help="folder of a run, or one above several: logs/ibanez-ts9")
    parser.add_argument(
        "--output", default="comparison", metavar="DIR", help="of comparison.csv, .md and .png (default: %(default)s)"
    )
    parser.add_argument(
        "--metrics", metavar="LIST", help=f"to show, the first one orders (default: {','.join(SHOWN)}); the CSV has all"
    )
    parser.add_argument("--confidence", type=float, default=0.95, help="of the intervals (default: %(default)s)")
    return parser
