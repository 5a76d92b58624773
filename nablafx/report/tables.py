"""A comparison as CSV, as Markdown and on the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nablafx.errors import plain
from nablafx.report.compare import Comparison, Overall, Table
from nablafx.report.groups import Group

if TYPE_CHECKING:
    from rich.console import RenderableType


def as_csv(comparison: Comparison) -> str:
    """A row a group and metric; seeds, steps, values and folders are lists, one entry a run."""
    rows = [
        _row(comparison, table, group, metric)
        for table in comparison.tables
        for group in table.groups
        for metric in comparison.metrics
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(comparison: Comparison, table: Table, group: Group, metric: str) -> dict[str, Any]:
    found = group.spreads[metric]
    overall, first = comparison.overall, group.runs[0]
    facts = {**first.facts, **{name: heard["fingerprint"] for name, heard in first.heard.items()}}
    mean_rank = overall.ranks.get(group.label, {}).get(metric, math.nan) if overall else math.nan
    return {
        "data": table.data,
        "model": group.model,
        "trainer": group.trainer,
        "protocol": table.protocol,
        "parameters": group.parameters,
        "n": found.n,
        "seeds": " ".join(map(str, group.seeds)),
        "metric": metric,
        "mean": _number(found.mean),
        "sd": _number(found.sd),
        "ci_low": _number(found.low),
        "ci_high": _number(found.high),
        "confidence": comparison.confidence,
        "rank": f"{group.ranks[metric]:g}",
        "near_best": int(metric in group.near_best),
        "mean_rank": _number(mean_rank),
        "data_sets": overall.devices if overall and group.label in overall.ranks else "",
        "inverted": int(group.is_inverted),
        "facts": "; ".join(f"{name} {value}" for name, value in facts.items()),
        "length": " ".join(f"{key}={value}" for key, value in first.length.items()),
        "steps": " ".join(str(run.record.get("steps", "")) for run in group.runs),
        "values": " ".join(f"{value:.6g}" for value in group.values(metric)),
        "folders": ";".join(str(run.folder) for run in group.runs),
    }


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def as_markdown(comparison: Comparison) -> str:
    lines = ["# Comparison of runs", ""]
    for flag in comparison.flags:
        lines += [f"> **Note** {_literal(flag)}", ""]
    for table in comparison.tables:
        lines += [f"## {_literal(table.title)}", "", *_grid(_table(table, comparison.metrics)), ""]
    if comparison.overall:
        lines += [f"## {_heading(comparison.overall)}", "", *_grid(_mean_ranks(comparison.overall)), ""]
    return "\n".join([*lines, _legend(comparison), ""])


def _grid(rows: list[list[str]]) -> list[str]:
    head, *body = (f"| {' | '.join(map(_literal, row))} |" for row in rows)
    return [head, f"| --- |{' ---: |' * (len(rows[0]) - 1)}", *body]


def _literal(text: str) -> str:
    """In Markdown: names make no cells, tags, links or pictures."""
    words = plain(text).replace("\n", " ").replace("\\", "\\\\")
    return words.replace("|", "\\|").replace("<", "\\<").replace("](", "]\\(").replace("`", "\\`")


def as_text(comparison: Comparison) -> Iterator[RenderableType]:
    """What is printed."""
    from rich import markup
    from rich.table import Table as Grid

    def escape(text: str) -> str:
        return markup.escape(plain(text))

    parts = [(table.title, _table(table, comparison.metrics)) for table in comparison.tables]
    if comparison.overall:
        parts.append((_heading(comparison.overall), _mean_ranks(comparison.overall)))
    for title, (head, *body) in parts:
        grid = Grid(title=escape(title), title_justify="left")
        for number, name in enumerate(head):
            grid.add_column(escape(name), justify="right" if number else "left", overflow="fold")
        for row in body:
            grid.add_row(*map(escape, row))
        yield grid
    yield escape(_legend(comparison))
    for flag in comparison.flags:
        yield f"[bold yellow]Note[/]: {escape(flag)}"


def _table(table: Table, metrics: list[str]) -> list[list[str]]:
    rows = [["model", "parameters", "runs", *metrics]]
    for group in table.groups:
        size = "" if group.parameters is None else f"{group.parameters:,}"
        rows.append([group.title, size, str(len(group.runs)), *(cell(group, metric) for metric in metrics)])
    return rows


def cell(group: Group, metric: str) -> str:
    """0.0123 ± 0.0010 [0.0098, 0.0148] (1), the deviation and interval where there are repeats."""
    found = group.spreads[metric]
    near = "≈ " if metric in group.near_best else ""
    place = f" ({group.ranks[metric]:g})"
    if math.isnan(found.sd):
        return f"{near}{found.mean:.4g}{place}"
    return f"{near}{found.mean:.4g} ± {found.sd:.2g} [{found.low:.4g}, {found.high:.4g}]{place}"


def _mean_ranks(overall: Overall) -> list[list[str]]:
    metrics = list(next(iter(overall.ranks.values())))
    rows = [[label, *(f"{places[metric]:.2f}" for metric in metrics)] for label, places in overall.ranks.items()]
    return [["model", *(f"mean rank by {metric}" for metric in metrics)], *rows]


def _heading(overall: Overall) -> str:
    return f"Over {overall.devices} data sets"


def _legend(comparison: Comparison) -> str:
    return (
        f"Mean ± standard deviation over the seeds, [{100 * comparison.confidence:g} % confidence interval of the "
        "mean], (rank). ≈: cannot be told from the best, their intervals overlap. A single run has no interval, and is "
        "not marked."
    )
