"""Runs side by side: repeats are averaged, models ranked, and what cannot be compared is kept apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nablafx.report.runs import Run
from nablafx.report.statistics import Spread, ranks, spread

HIGHER_IS_BETTER = {"cosine"}
INVERTED_ESR, INVERTED_COSINE = 3.0, -0.5


@dataclass
class Group:
    """Runs that differ in their seed only.

    Attributes:
        label: model and trainer, and what tells it from others of that name.
        spreads, ranks: by metric.
        near_best: metrics in which it cannot be told from the best: their intervals overlap.
    """

    runs: list[Run]
    label: str
    spreads: dict[str, Spread] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)
    near_best: set[str] = field(default_factory=set)

    @property
    def parameters(self) -> int | None:
        return self.runs[0].record.get("parameters")

    @property
    def seeds(self) -> list[Any]:
        return [run.seed for run in self.runs]

    @property
    def is_inverted(self) -> bool:
        """Whether one of its runs has learned the device upside down."""
        values = [(run.metrics.get("esr", 0.0), run.metrics.get("cosine", 0.0)) for run in self.runs]
        return any(esr > INVERTED_ESR and cosine < INVERTED_COSINE for esr, cosine in values)

    def values(self, metric: str) -> list[float]:
        return [run.metrics.get(metric, math.nan) for run in self.runs]


@dataclass
class Table:
    """Groups whose figures are comparable: one device, one protocol.

    Attributes:
        protocol: a letter, where a device has several.
    """

    data: str
    protocol: str
    groups: list[Group]
    facts: dict[str, Any]


@dataclass
class Comparison:
    """All tables.

    Attributes:
        metrics: in their order.
        flags: what the reader must know, a sentence each.
        mean_ranks: label: (mean rank by the first metric, number of tables), of models that are in several.
    """

    tables: list[Table]
    metrics: list[str]
    flags: list[str]
    mean_ranks: dict[str, tuple[float, int]]


def compare(runs: Sequence[Run], metrics: Sequence[str], confidence: float = 0.95) -> Comparison:
    """Group, average and rank runs by these metrics, the first of which orders the tables."""
    tables, flags = [], []
    devices: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        devices.setdefault(run.device, []).append(run)
    for of_device in devices.values():
        protocols: list[tuple[dict[str, Any], list[Run]]] = []
        for run in of_device:
            known = next((members for facts, members in protocols if facts == run.protocol), None)
            if known is None:
                protocols.append((run.protocol, [run]))
            else:
                known.append(run)
        if len(protocols) > 1:
            flags.append(_unequal(of_device[0].data, [facts for facts, _ in protocols]))
        for number, (facts, members) in enumerate(protocols):
            letter = chr(ord("A") + number) if len(protocols) > 1 else ""
            groups = _groups(members)
            _rank(groups, metrics, confidence)
            tables.append(Table(members[0].data, letter, groups, facts))
            flags += [
                f"{g.label}: a run is inverted: in ESR it is near 4, and cancels its device"
                for g in groups
                if g.is_inverted
            ]
    return Comparison(tables, list(metrics), flags + _other_lengths(tables), _mean_ranks(tables, metrics[0]))


def _groups(runs: list[Run]) -> list[Group]:
    recipes: dict[str, list[Run]] = {}
    for run in runs:
        recipes.setdefault(run.recipe, []).append(run)
    groups = [Group(sorted(members, key=lambda run: str(run.seed)), members[0].model) for members in recipes.values()]
    for label in {group.label for group in groups}:
        same = [group for group in groups if group.label == label]
        if len(same) > 1:
            for group in same:
                group.label = f"{label} ({', '.join(run.folder.name for run in group.runs)})"
    return groups


def _rank(groups: list[Group], metrics: Sequence[str], confidence: float) -> None:
    for metric in metrics:
        for group in groups:
            group.spreads[metric] = spread(group.values(metric), confidence)
        placed = ranks([group.spreads[metric].mean for group in groups], metric in HIGHER_IS_BETTER)
        for group, place in zip(groups, placed, strict=True):
            group.ranks[metric] = place
        best = groups[placed.index(min(placed))]
        for group in groups:
            if group is not best and group.spreads[metric].overlaps(best.spreads[metric]):
                group.near_best.add(metric)
    groups.sort(key=lambda group: group.ranks[metrics[0]])


def _unequal(data: str, protocols: list[dict[str, Any]]) -> str:
    """Which facts differ between the protocols of one device."""
    parts = []
    for fact in protocols[0]:
        values = [facts[fact] for facts in protocols]
        if any(value != values[0] for value in values):
            told = ", ".join(f"{chr(ord('A') + n)}: {value}" for n, value in enumerate(values))
            parts.append(f"{fact} ({told})")
    return f"{data}: unequal protocols, which are not averaged or ranked together; they differ in {'; '.join(parts)}"


def _other_lengths(tables: list[Table]) -> list[str]:
    told: dict[str, list[str]] = {}
    for table in tables:
        lengths = {group.label: group.runs[0].length for group in table.groups}
        if len({str(length) for length in lengths.values()}) > 1:
            limits = [
                f"{label}: {', '.join(f'{key} {value}' for key, value in length.items()) or 'no limit'}"
                for label, length in lengths.items()
            ]
            told.setdefault("; ".join(sorted(limits)), []).append(f"{table.data} {table.protocol}".strip())
    return [f"{', '.join(places)}: trained for other lengths ({limits})" for limits, places in told.items()]


def _mean_ranks(tables: list[Table], metric: str) -> dict[str, tuple[float, int]]:
    """Over the devices, of models that more than one has; of the protocols of a device, that of most models counts."""
    largest: dict[str, Table] = {}
    for table in tables:
        if len(table.groups) > len(largest[table.data].groups if table.data in largest else ()):
            largest[table.data] = table
    found: dict[str, list[float]] = {}
    for table in largest.values():
        for group in table.groups:
            found.setdefault(group.label, []).append(group.ranks[metric])
    several = {label: (sum(r) / len(r), len(r)) for label, r in found.items() if len(r) > 1}
    return dict(sorted(several.items(), key=lambda item: item[1][0]))
