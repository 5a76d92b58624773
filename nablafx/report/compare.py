"""Runs side by side: repeats are averaged, models ranked, and what cannot be compared is kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nablafx.report.groups import Group, grouped, sorted_into, titles
from nablafx.report.protocols import differences, letter, protocol
from nablafx.report.runs import Run
from nablafx.report.statistics import ranks, spread

HIGHER_IS_BETTER = {"cosine"}


@dataclass
class Table:
    """Groups whose figures are comparable: one device, one protocol.

    Attributes:
        data: the data set.
        protocol: a letter, where a device has several.
    """

    data: str
    protocol: str
    groups: list[Group]

    @property
    def title(self) -> str:
        return f"{self.data}, protocol {self.protocol}" if self.protocol else self.data


@dataclass
class Overall:
    """Mean ranks over several devices, of the models that all of them have.

    Attributes:
        devices: how many.
        ranks: by label of a model and metric.
    """

    devices: int
    ranks: dict[str, dict[str, float]]


@dataclass
class Comparison:
    """All tables.

    Attributes:
        metrics: in their order.
        confidence: of the intervals.
        flags: what the reader must know, a sentence each.
        overall: None for one device, or where fewer than two models are common to all.
    """

    tables: list[Table]
    metrics: list[str]
    confidence: float
    flags: list[str]
    overall: Overall | None


def compare(runs: Sequence[Run], metrics: Sequence[str], confidence: float = 0.95) -> Comparison:
    """Group, average and rank runs by these metrics, the first of which orders the tables."""
    by_device, flags = [], []
    devices = sorted_into(runs, lambda run: tuple(run.device.values()))
    for title, of_device in zip(titles(devices), devices, strict=True):
        protocols = sorted_into(of_device, protocol)
        tables = []
        for number, members in enumerate(protocols):
            groups, told = grouped(members)
            _rank(groups, metrics, confidence)
            tables.append(Table(title, letter(number) if len(protocols) > 1 else "", groups))
            flags += [f"{tables[-1].title}, {sentence}" for sentence in (*told, *_inverted(groups))]
        if len(protocols) > 1:
            differing = differences([members[0] for members in protocols])
            flags.append(
                f"{title}: unequal protocols, which are not averaged or ranked together; they differ in {differing}"
            )
        by_device.append(tables)
    every = [table for tables in by_device for table in tables]
    overall, left_out = _overall(by_device, metrics)
    return Comparison(every, list(metrics), confidence, [*flags, *_other_lengths(every), *left_out], overall)


def _rank(groups: list[Group], metrics: Sequence[str], confidence: float) -> None:
    for metric in metrics:
        for group in groups:
            group.spreads[metric] = spread(group.values(metric), confidence)
        placed = _places(groups, metric)
        for group, place in zip(groups, placed, strict=True):
            group.ranks[metric] = place
        best = groups[placed.index(min(placed))]
        for group in groups:
            if group is not best and group.spreads[metric].overlaps(best.spreads[metric]):
                group.near_best.add(metric)
    groups.sort(key=lambda group: group.ranks[metrics[0]])


def _places(groups: Sequence[Group], metric: str) -> list[float]:
    return ranks([group.spreads[metric].mean for group in groups], metric in HIGHER_IS_BETTER)


def _inverted(groups: list[Group]) -> list[str]:
    return [
        f"{group.label}: a run is inverted: in ESR it is near 4, and cancels its device"
        for group in groups
        if group.is_inverted
    ]


def _other_lengths(tables: list[Table]) -> list[str]:
    told: dict[str, list[str]] = {}
    for table in tables:
        by_length = sorted_into(table.groups, lambda group: str(group.runs[0].length))
        if len(by_length) > 1:
            limits = [
                f"{', '.join(f'{k} {v}' for k, v in same[0].runs[0].length.items()) or 'no limit'}: "
                f"{', '.join(sorted(group.label for group in same))}"
                for same in by_length
            ]
            told.setdefault("; ".join(sorted(limits)), []).append(table.title)
    return [f"{', '.join(places)}: trained for other lengths ({limits})" for limits, places in told.items()]


def _overall(by_device: Sequence[Sequence[Table]], metrics: Sequence[str]) -> tuple[Overall | None, list[str]]:
    """Ranked anew among the models that all devices have; of a device's protocols the one with most models counts."""
    if len(by_device) < 2:
        return None, []
    tables = [max(tables, key=lambda table: len(table.groups)) for tables in by_device]
    by_label = [{group.label: group for group in table.groups} for table in tables]
    labels = list(dict.fromkeys(label for groups in by_label for label in groups))
    common = [label for label in labels if all(label in groups for groups in by_label)]
    if len(common) < 2:
        return None, []
    places: dict[str, dict[str, float]] = {label: dict.fromkeys(metrics, 0.0) for label in common}
    for metric in metrics:
        for groups in by_label:
            for label, place in zip(common, _places([groups[name] for name in common], metric), strict=True):
                places[label][metric] += place / len(tables)
    ordered = dict(sorted(places.items(), key=lambda item: item[1][metrics[0]]))
    others = [label for label in labels if label not in common]
    flag = f"mean ranks are of the models that all {len(tables)} data sets have, without {', '.join(others)}"
    return Overall(len(tables), ordered), [flag] if others else []
