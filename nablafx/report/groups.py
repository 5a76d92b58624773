"""Which runs are repeats of each other, and what to call them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from nablafx.report.runs import Run
from nablafx.report.statistics import Spread

T = TypeVar("T")
INVERTED_ESR, INVERTED_COSINE = (3.0, 5.0), -0.5
# a note on what tells groups apart says more than two settings, or long ones, badly
MOST_SETTINGS, LONGEST = 2, 40


@dataclass
class Group:
    """Runs that differ in their seed only.

    Attributes:
        note: what tells it from others of its name.
        spreads, ranks: by metric.
        near_best: metrics in which it cannot be told from the best: their intervals overlap.
    """

    runs: list[Run]
    note: str = ""
    spreads: dict[str, Spread] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)
    near_best: set[str] = field(default_factory=set)

    @property
    def model(self) -> str:
        return f"{self.runs[0].model} ({self.note})" if self.note else self.runs[0].model

    @property
    def trainer(self) -> str:
        return self.runs[0].trainer

    @property
    def label(self) -> str:
        return f"{self.model} / {self.trainer}" if self.trainer else self.model

    @property
    def title(self) -> str:
        """The label, with a mark if a run is inverted."""
        return f"{self.label} (inverted)" if self.is_inverted else self.label

    @property
    def parameters(self) -> int | None:
        return self.runs[0].record.get("parameters")

    @property
    def seeds(self) -> list[int | None]:
        return [run.seed for run in self.runs]

    @property
    def is_inverted(self) -> bool:
        """Whether one of its runs has learned the device upside down."""
        low, high = INVERTED_ESR
        values = [(run.metrics.get("esr", 0.0), run.metrics.get("cosine", 0.0)) for run in self.runs]
        return any(low < esr < high and cosine < INVERTED_COSINE for esr, cosine in values)

    def values(self, metric: str) -> list[float]:
        return [run.metrics.get(metric, float("nan")) for run in self.runs]


def sorted_into(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Lists of the items that have one key, in the order in which the keys come."""
    found: dict[Hashable, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


def grouped(runs: Iterable[Run]) -> tuple[list[Group], list[str]]:
    """The groups of runs of one device and protocol, and what must be said of them.

    Of runs of one seed the last one counts: they are no repeats, and would make an interval too small.
    """
    groups, flags = [], []
    for members in sorted_into(runs, lambda run: repr(sorted(run.settings.items()))):
        by_seed = sorted_into(members, lambda run: str(run.folder) if run.seed is None else run.seed)
        by_seed.sort(key=lambda same: -1 if same[0].seed is None else same[0].seed)
        groups.append(Group([same[-1] for same in by_seed]))
        for same in by_seed:
            if len(same) > 1:
                flags.append(
                    f"{groups[-1].label}: seed {same[0].seed} was run {len(same)} times, which are no repeats; "
                    f"{same[-1].folder} counts"
                )
    for same_name in sorted_into(groups, lambda group: group.label):
        if len(same_name) > 1:
            for group, note in zip(same_name, _notes(same_name), strict=True):
                group.note = note
    return groups, flags


def _notes(groups: list[Group]) -> list[str]:
    """What differs between groups of one name: settings, if they are few, or else their folders."""
    settings = [group.runs[0].settings for group in groups]
    missing = object()
    keys = sorted({key for one in settings for key in one})
    differing = [key for key in keys if any(one.get(key, missing) != settings[0].get(key, missing) for one in settings)]
    notes = [
        ", ".join(
            f"{key.rpartition('.')[2]} {one[key]}" if key in one else f"no {key.rpartition('.')[2]}"
            for key in differing
        )
        for one in settings
    ]
    if len(differing) > MOST_SETTINGS or max(map(len, notes)) > LONGEST:
        return [", ".join(run.folder.name for run in group.runs) for group in groups]
    return notes


def titles(devices: list[list[Run]]) -> list[str]:
    """A name for each device: that of its data set, and what tells it from others of that name."""
    found = []
    for runs in devices:
        same = [other[0].device for other in devices if other[0].data == runs[0].data]
        device = runs[0].device
        told = [f"{key} {value}" for key, value in device.items() if any(one[key] != value for one in same)]
        found.append(f"{runs[0].data} ({', '.join(told)})" if told else runs[0].data)
    return found
