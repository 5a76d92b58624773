"""A comparison as CSV, as Markdown and on the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nablafx.report.compare import Comparison, Group, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = ["data", "protocol", "model", "parameters", "n", "seeds", "metric", "mean", "sd", "ci_low", "ci_high"]
COLUMNS += ["rank", "near_best", "inverted", "values", "folders"]
LEGEND = (
    "Mean ± standard deviation over the seeds, [confidence interval of the mean], (rank). "
    "≈: cannot be told from the best, their intervals overlap."
)


def as_csv(comparison: Comparison) -> str:
    """A row a group and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for table in comparison.tables:
        for group in table.groups:
            for metric in comparison.metrics:
                writer.writerow(_row(table, group, metric))
    return text.getvalue()


def _row(table: Table, group: Group, metric: str) -> list[Any]:
    found = group.spreads[metric]
    figures = ["" if math.isnan(value) else f"{value:.6g}" for value in found[1:]]
    return [
        *(table.data, table.protocol, group.label, group.parameters, found.n),
        *(" ".join(map(str, group.seeds)), metric, *figures),
        *(f"{group.ranks[metric]:g}", int(metric in group.near_best), int(group.is_inverted)),
        " ".join(f"{value:.6g}" for value in group.values(metric)),
        " ".join(str(run.folder) for run in group.runs),
    ]


def as_markdown(comparison: Comparison) -> str:
    lines = ["# Comparison of runs", ""]
    for flag in comparison.flags:
        lines += [f"> **Note** {flag}", ""]
    for table in comparison.tables:
        lines += [f"## {_title(table)}", ""]
        head = ["model", "parameters", "runs", *comparison.metrics]
        lines += [_line(head), _line(["---"] * len(head))]
        lines += [_line(cells) for cells in _cells(table, comparison.metrics)]
        lines.append("")
    if comparison.mean_ranks:
        first = comparison.metrics[0]
        lines += ["## Over the devices", "", _line(["model", f"mean rank by {first}", "tables"]), _line(["---"] * 3)]
        lines += [_line([label, f"{rank:.2f}", str(n)]) for label, (rank, n) in comparison.mean_ranks.items()]
        lines.append("")
    return "\n".join([*lines, LEGEND, ""])


def as_text(comparison: Comparison) -> Iterator[RenderableType]:
    """What is printed."""
    from rich.markup import escape
    from rich.table import Table as Grid

    for table in comparison.tables:
        grid = Grid(title=escape(_title(table)), title_justify="left")
        grid.add_column("model", overflow="fold")
        for head in ("parameters", "runs", *comparison.metrics):
            grid.add_column(head, justify="right")
        for cells in _cells(table, comparison.metrics):
            grid.add_row(*map(escape, cells))
        yield grid
    if comparison.mean_ranks:
        grid = Grid(
            "model", f"mean rank by {comparison.metrics[0]}", "tables", title="Over the devices", title_justify="left"
        )
        for label, (rank, n) in comparison.mean_ranks.items():
            grid.add_row(escape(label), f"{rank:.2f}", str(n))
        yield grid
    yield escape(LEGEND)
    for flag in comparison.flags:
        yield f"[bold yellow]Note[/]: {escape(flag)}"


def _cells(table: Table, metrics: list[str]) -> Iterator[list[str]]:
    for group in table.groups:
        size = "" if group.parameters is None else f"{group.parameters:,}"
        name = f"{group.label} (inverted)" if group.is_inverted else group.label
        yield [name, size, str(len(group.runs)), *(cell(group, metric) for metric in metrics)]


def cell(group: Group, metric: str) -> str:
    """0.0123 ± 0.0010 [0.0098, 0.0148] (1), the deviation and interval where there are repeats."""
    found = group.spreads[metric]
    near = "≈ " if metric in group.near_best else ""
    place = f" ({group.ranks[metric]:g})"
    if math.isnan(found.sd):
        return f"{near}{found.mean:.4g}{place}"
    return f"{near}{found.mean:.4g} ± {found.sd:.2g} [{found.low:.4g}, {found.high:.4g}]{place}"


def _title(table: Table) -> str:
    return f"{table.data}, protocol {table.protocol}" if table.protocol else table.data


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |"
