"""The parameters of a chain as a table, in physical units."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nablafx.plots.stages import StageView


class Row(NamedTuple):
    """One parameter of a stage: its value, or the least and the largest where it moves with the audio."""

    stage: str
    processor: str
    parameter: str
    value: str
    least: str = ""
    largest: str = ""


def parameter_rows(views: Sequence[StageView]) -> list[Row]:
    """Rows in the order of the chain: of what moves, `value` is the median over the audio that the views have."""
    rows = []
    for view in views:
        for name, values in view.params.items():
            numbers = [np.median(values), *([values.min(), values.max()] if len(values) > 1 else [])]
            rows.append(Row(view.name, view.kind, name, *(f"{number:.4g}" for number in numbers)))
    return rows


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return text.getvalue()


def as_text(rows: Sequence[Row]) -> str:
    """Columns that line up, for a terminal."""
    table = [Row._fields, *rows]
    widths = [max(len(row[n]) for row in table) for n in range(len(Row._fields))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "\n".join(lines)
