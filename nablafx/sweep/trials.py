"""The trials of a sweep: which configs, seed and settings each has, and what its run is called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from nablafx.errors import UserError
from nablafx.shipped import find_config
from nablafx.sweep.patterns import configs, models
from nablafx.sweep.samples import draws
from nablafx.sweep.spec import Grid, Spec
from nablafx.training.runs import run_name

# settings of these belong to the trainer's part of a run's name, all others to the model's
_OF_TRAINER = ("trainer", "checkpoint", "early_stopping")


@dataclass(frozen=True)
class Trial:
    """One run, trained and tested.

    Attributes:
        name: of the run, data/model/trainer.
        seed: `seed_everything`.
        files: what -c takes.
        settings: (key, value as YAML) of what is set besides.
    """

    name: str
    seed: int
    files: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def words(self) -> list[str]:
        """What `nablafx fit` needs to begin it, but for where."""
        named = [word for file in self.files for word in ("-c", file)]
        # in one word each: a value cannot become an option
        setting = [f"--{key}={value}" for key, value in self.settings]
        return [*named, *setting, "--seed_everything", str(self.seed), "--name", self.name]


@dataclass(frozen=True)
class Table:
    """The trials of a sweep, and the names of what it excludes."""

    trials: list[Trial]
    excluded: list[str]


def table_of(spec: Spec) -> Table:
    """Every trial of a sweep, each once.

    Raises:
        UserError: a config is not there, a pattern excludes nothing, or two trials would have one name.
    """
    trials: dict[tuple[str, int], Trial] = {}
    excluded: dict[str, None] = {}
    used: set[str] = set()
    for grid in spec.grids:
        for trial in _trials(grid, spec):
            out = [pattern for pattern in (*grid.exclude, *spec.exclude) if fnmatchcase(trial.name, pattern)]
            used.update(out)
            if out:
                excluded[trial.name] = None
            elif trials.setdefault((trial.name, trial.seed), trial) != trial:
                raise UserError(f"{spec.file}: two trials would be called {trial.title}; let their values differ more")
    patterns = [*spec.exclude, *(pattern for grid in spec.grids for pattern in grid.exclude)]
    idle = [pattern for pattern in patterns if pattern not in used]
    if idle:
        raise UserError(
            f"{spec.file}: exclude: no trial is called {idle[0]}; names are data/model/trainer, as in "
            f"{next(iter(trials), ('nothing', 0))[0]}"
        )
    if not trials:
        raise UserError(f"{spec.file}: every trial is excluded")
    return Table(list(trials.values()), list(excluded))


def _trials(grid: Grid, spec: Spec) -> Iterator[Trial]:
    data, losses = configs("data", grid.data), configs("loss", grid.loss) if grid.loss else [""]
    for source, model, loss in product(data, models(grid.model), losses):
        for trainer, settings in product(_trainers(grid, model), _settings(grid, spec)):
            files = [source, *model, *([loss] if loss else []), trainer]
            name = named(run_name([find_config(file) for file in files]), settings)
            said = tuple((key, _yaml(value)) for key, value in settings.items())
            yield from (Trial(name, seed, tuple(files), said) for seed in grid.seeds)


def _trainers(grid: Grid, model: tuple[str, ...]) -> list[str]:
    if not isinstance(grid.trainer, dict):
        return configs("trainer", grid.trainer)
    kind = "+".join(file.removeprefix("model/").removeprefix("with/").removesuffix(".yaml") for file in model)
    for pattern, trainer in grid.trainer.items():
        if fnmatchcase(kind, pattern):
            return configs("trainer", [trainer])
    raise UserError(f"trainer: no pattern of {', '.join(grid.trainer)} fits {kind}; add '*': NAME as the last")


def _settings(grid: Grid, spec: Spec) -> list[dict[str, Any]]:
    """What is set in each trial of one set of configs: every combination of lists, and of a search every draw."""
    cells = [dict(zip(grid.settings, values, strict=True)) for values in product(*grid.settings.values())]
    if not spec.search:
        return cells
    drawn = draws(spec.search.parameters, spec.search.samples, spec.search.seed)
    return [{**cell, **values} for cell in cells for values in drawn]


def named(name: str, settings: dict[str, Any]) -> str:
    """A run's name with its settings: ts9/lstm-32+lr-0.001/tbptt."""
    data, *rest = name.split("/")
    model, trainer = [*rest, "", ""][:2]
    for key, value in settings.items():
        addition = re.sub(r"[^\w.+-]", "-", f"+{key.rpartition('.')[2]}-{_short(value)}")
        if key.split(".")[0] in _OF_TRAINER:
            trainer += addition
        else:
            model += addition
    return "/".join((data, model, trainer))


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else _yaml(value)


def _yaml(value: Any) -> str:
    # JSON is YAML; a word stays one, without quotes
    return value if isinstance(value, str) else json.dumps(value)


def chosen(trials: Sequence[Trial], pattern: str) -> list[Trial]:
    """The trials that have the pattern in their names.

    Raises:
        UserError: none has.
    """
    found = [trial for trial in trials if fnmatchcase(trial.name, f"*{pattern}*")]
    if not found:
        raise UserError(f"no trial has {pattern} in its name; --list shows them")
    return found
