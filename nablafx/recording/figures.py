"""The figures of a check as a table on the terminal, as CSV and as JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx.data.checks import is_delayed
from nablafx.data.errors import Report
from nablafx.data.files import Pair
from nablafx.data.inspection.facts import SILENT_DB, FileFacts, PairFacts
from nablafx.data.inspection.inspect import Inspection

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("level", "noise", "DC", "clipped", "delay", "polarity", "drift", "repeat", "memory")
_UNITS = ("dBFS", "dBFS", "", "runs", "samples", "", "ppm", "ESR", "ms")
_UNKNOWN = "-"


def as_table(pairs: list[Pair], found: Inspection, report: Report) -> Table:
    """A row a file: dry ones once, each followed by its wet ones. What could not be measured is a dash."""
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=f"{_UNKNOWN}: not measured, too little to go by", caption_justify="left", header_style="bold")
    table.add_column("file", overflow="fold")
    for name, unit in zip(_COLUMNS, _UNITS, strict=True):
        table.add_column(f"{name}\n[dim]{unit}[/dim]" if unit else name, justify="right")
    table.add_column("verdict")
    for path, pair, depth in rows(pairs):
        facts = found.files.get(path)
        cells = _file_cells(facts) if isinstance(facts, FileFacts) else [""] * 4
        compared = found.pairs.get((pair.dry, pair.wet)) if depth else None
        cells += _pair_cells(compared, facts.rate) if compared and isinstance(facts, FileFacts) else [""] * 5
        table.add_row(Text("  " * depth + path.name), *cells, _verdict(path, report))
    return table


def rows(pairs: list[Pair]) -> list[tuple[Path, Pair, int]]:
    """(file, its pair, 0 for a dry and 1 for a wet one)."""
    listed: dict[Path, list[Pair]] = {}
    for pair in pairs:
        listed.setdefault(pair.dry, []).append(pair)
    return [
        row
        for dry, ones in listed.items()
        for row in [(dry, ones[0], 0), *((one.wet, one, 1) for one in ones if one.wet)]
    ]


def _file_cells(facts: FileFacts) -> list[str]:
    clips = (
        f"{facts.clipped}" if facts.clipped or not facts.flat_tops else f"{facts.flat_tops} at {facts.flat_peak:.2f}"
    )
    return [
        _level(facts.loud_db),
        _level(facts.noise_db),
        _UNKNOWN if facts.dc is None else f"{facts.dc:+.3f}",
        clips,
    ]


def _pair_cells(pair: PairFacts, rate: int) -> list[str]:
    inverted = {None: _UNKNOWN, True: "inverted", False: "same"}[pair.inverted]
    delay = _UNKNOWN if pair.delay is None else f"{pair.delay:+.1f}"
    memory = _UNKNOWN if pair.memory_ms is None else f"{'≥ ' if pair.decay_open else ''}{pair.memory_ms:.0f}"
    return [
        f"[bold]{delay}[/bold]" if is_delayed(pair, rate) else delay,
        inverted,
        _UNKNOWN if pair.drift_ppm is None else f"{pair.drift_ppm:+.0f}" if pair.drifts else "none",
        _UNKNOWN if pair.repeat_esr is None else f"{pair.repeat_esr:.1g}",
        memory,
    ]


def _level(level_db: float) -> str:
    return "silent" if level_db <= SILENT_DB else f"{level_db:.0f}"


def _verdict(path: Path, report: Report) -> str:
    if str(path) in report.problems:
        return "[bold red]problem[/bold red]"
    return "[yellow]look[/yellow]" if str(path) in report.notes else "[green]good[/green]"


def as_csv(pairs: list[Pair], found: Inspection, report: Report) -> str:
    """A row a file with all figures that are one number, and what is said of it."""
    lists = ("clip_places", "track", "repeat")
    names = [field.name for kind in (FileFacts, PairFacts) for field in dataclasses.fields(kind)]
    names = [name for name in dict.fromkeys(names) if name not in lists]
    pair_names = {field.name for field in dataclasses.fields(PairFacts)}
    text = io.StringIO()
    # both have a noise_db: that of the pair is what wet has where dry is silent
    head = ["file", "dry", *names, "noise_where_dry_is_silent_db", "memory_ms", "problems", "notes"]
    writer = csv.DictWriter(text, head, lineterminator="\n")
    writer.writeheader()
    for path, pair, depth in rows(pairs):
        facts, compared = found.files.get(path), found.pairs.get((pair.dry, pair.wet)) if depth else None
        row: dict[str, Any] = {"file": path, "dry": pair.dry if depth else ""}
        if compared:
            row |= {name: getattr(compared, name) for name in names if name in pair_names}
            row |= {"noise_where_dry_is_silent_db": compared.noise_db, "memory_ms": compared.memory_ms}
        if isinstance(facts, FileFacts):
            row |= {name: getattr(facts, name) for name in names if hasattr(facts, name)}
        row |= {"problems": "; ".join(_said(path, report.problems)), "notes": "; ".join(_said(path, report.notes))}
        writer.writerow(row)
    return text.getvalue()


def as_json(pairs: list[Pair], found: Inspection, report: Report) -> str:
    """All figures, the delays over the files and the places of clipping among them."""
    entries = []
    for path, pair, depth in rows(pairs):
        facts, compared = found.files.get(path), found.pairs.get((pair.dry, pair.wet)) if depth else None
        entry: dict[str, Any] = {"file": str(path), "dry": str(pair.dry) if depth else None}
        entry["facts"] = dataclasses.asdict(facts) if isinstance(facts, FileFacts) else None
        entry["pair"] = dataclasses.asdict(compared) if compared else None
        entry |= {"problems": _said(path, report.problems), "notes": _said(path, report.notes)}
        entries.append(entry)
    return json.dumps(_finite(entries), indent=1, allow_nan=False) + "\n"


def _said(path: Path, lines: dict[str, list[str]]) -> list[str]:
    return lines.get(str(path), [])


def _finite(value: Any) -> Any:
    """With null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value
