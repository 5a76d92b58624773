"""What a sweep's YAML says, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from nablafx.errors import UserError
from nablafx.foreign import ForeignError, read_yaml
from nablafx.sweep.samples import Range, range_of
from nablafx.training.runs import SEED

_SECTIONS = ("model", "data", "trainer", "checkpoint", "early_stopping", "media", "fad")
_AXES = ("data", "model", "loss", "trainer", "seeds", "settings", "exclude")
_KEYS = (*_AXES, "grids", "resources", "retries", "search")
_SEARCH = ("parameters", "samples", "metric", "mode", "seed", "asha")


@dataclass(frozen=True)
class Grid:
    """Axes of which every combination is a trial; patterns of configs, seeds, and values of settings."""

    data: tuple[str, ...]
    model: tuple[str, ...]
    trainer: tuple[str, ...] | dict[str, str]
    loss: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: dict[str, tuple[Any, ...]]
    exclude: tuple[str, ...]


@dataclass(frozen=True)
class Asha:
    """Trials that are behind after `grace_steps` optimizer steps end, and so after `reduction_factor` times as many."""

    grace_steps: int
    reduction_factor: int


@dataclass(frozen=True)
class Search:
    """Settings drawn at random, and the column of history.csv that tells which are good."""

    parameters: dict[str, Range]
    samples: int
    metric: str
    mode: str
    seed: int
    asha: Asha | None


@dataclass(frozen=True)
class Spec:
    """A sweep.

    Attributes:
        file: that says so.
        grids: their trials together are the sweep's.
        exclude: patterns of names of runs, of all grids.
        cpus: of a trial.
        gpus: of a trial, a part of one or whole ones; None: one where there are any.
        retries: how often a trial that failed is tried again.
        search: None: the grids alone.
    """

    file: str
    grids: tuple[Grid, ...]
    exclude: tuple[str, ...]
    cpus: int
    gpus: float | None
    retries: int
    search: Search | None

    def with_seeds(self, count: int) -> Spec:
        """The same with `count` seeds, from the first one on."""
        return replace(self, grids=tuple(replace(g, seeds=_seeds(count, "--seeds")) for g in self.grids))


def read_spec(file: str) -> Spec:
    """The sweep that a YAML file describes.

    Raises:
        UserError: it cannot be read, or says what is no sweep; the message names the key.
    """
    try:
        given = read_yaml(file)
    except ForeignError as error:
        raise UserError(f"{file} cannot be read ({error}); mend it") from error
    try:
        return _spec(file, given)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _spec(file: str, given: Any) -> Spec:
    _known(given, _KEYS, "the sweep")
    common = {key: given[key] for key in _AXES if key in given}
    grids = given.get("grids", [{}])
    if not isinstance(grids, list) or not grids:
        raise UserError(f"grids is {grids!r}; it needs a list of axes")
    exclude = _words(common.pop("exclude", []), "exclude")
    found = tuple(_grid(grid, common, f"grids[{n}]" if "grids" in given else "") for n, grid in enumerate(grids))
    resources = given.get("resources", {})
    _known(resources, ("cpus", "gpus"), "resources")
    search = _search(given["search"]) if "search" in given else None
    if search and search.asha:
        _one_contest(found)
    return Spec(
        file,
        found,
        exclude,
        cpus=whole(resources.get("cpus", 1), "resources.cpus", 1),
        gpus=gpus_of(resources["gpus"], "resources.gpus") if "gpus" in resources else None,
        retries=whole(given.get("retries", 1), "retries", 0),
        search=search,
    )


def _grid(given: Any, common: Mapping[str, Any], where: str) -> Grid:
    _known(given, _AXES, where or "the sweep")
    given = {**common, **given}
    within = f"{where}." if where else ""
    missing = [key for key in ("data", "model", "trainer") if key not in given]
    if missing:
        raise UserError(f"{where or 'the sweep'} lacks {', '.join(missing)}; name configs, as in data: demo-ts9")
    trainer = given["trainer"]
    if isinstance(trainer, dict):
        words = [*map(str, trainer), *_words(list(trainer.values()), f"{within}trainer")]
        trainer = dict(zip(words[: len(trainer)], words[len(trainer) :], strict=True))
    else:
        trainer = _words(trainer, f"{within}trainer")
    return Grid(
        data=_words(given["data"], f"{within}data"),
        model=_words(given["model"], f"{within}model"),
        trainer=trainer,
        loss=_words(given.get("loss", []), f"{within}loss"),
        seeds=_seeds(given.get("seeds", 1), f"{within}seeds"),
        settings=_settings(given.get("settings", {}), f"{within}settings"),
        exclude=_words(given.get("exclude", []), f"{within}exclude"),
    )


def _search(given: Any) -> Search:
    _known(given, _SEARCH, "search")
    parameters = given.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(f"search.parameters is {parameters!r}; it needs settings with ranges")
    for key in parameters:
        _setting_key(key, "search.parameters")
    ranges = {key: range_of(value, f"search.parameters.{key}") for key, value in parameters.items()}
    for key, drawn in ranges.items():
        for value in drawn.values:
            _setting_value(value, f"search.parameters.{key}")
    metric, mode = given.get("metric", "loss/val/total"), given.get("mode", "min")
    if not isinstance(metric, str):
        raise UserError(f"search.metric is {metric!r}; it needs a column of history.csv, as loss/val/total")
    if mode not in ("min", "max"):
        raise UserError(f"search.mode is {mode!r}; it needs min or max")
    samples = whole(given.get("samples", 10), "search.samples", 1)
    return Search(ranges, samples, metric, mode, whole(given.get("seed", 0), "search.seed", 0), _asha(given))


def _asha(search: Mapping[str, Any]) -> Asha | None:
    if "asha" not in search:
        return None
    given = search["asha"]
    _known(given, ("grace_steps", "reduction_factor"), "search.asha")
    if "grace_steps" not in given:
        raise UserError("search.asha lacks grace_steps, the optimizer steps that every trial may take")
    steps = whole(given["grace_steps"], "search.asha.grace_steps", 1)
    return Asha(steps, whole(given.get("reduction_factor", 4), "search.asha.reduction_factor", 2))


def _one_contest(grids: tuple[Grid, ...]) -> None:
    """Losses on other audio, or of another kind, do not compare."""
    for key, named in {"data": [g.data for g in grids], "loss": [g.loss for g in grids]}.items():
        words = {word for patterns in named for word in patterns}
        if len(words) > 1 or any(re.search(r"[*?[{]", word) for word in words):
            raise UserError(f"search.asha compares losses, which needs one {key}; it got {', '.join(sorted(words))}")


def _known(given: Any, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(given, dict):
        raise UserError(f"{where} is {given!r}; it needs keys: {', '.join(keys)}")
    for key in given:
        if key not in keys:
            near = get_close_matches(str(key), keys, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(keys)}"
            raise UserError(f"{where} has no key {key!r}; {hint}")


def _words(given: Any, where: str) -> tuple[str, ...]:
    words = given if isinstance(given, list) else [given]
    wrong = [word for word in words if not isinstance(word, str) or not word]
    if wrong:
        raise UserError(f"{where} is {given!r}; it needs a name or pattern, or a list of them")
    return tuple(words)


def whole(given: Any, where: str, least: int) -> int:
    """A whole number from `least` on, or a UserError."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise UserError(f"{where} is {given!r}; it needs a whole number, {least} or more")
    return given


def gpus_of(given: Any, where: str) -> float:
    """A part of a GPU, or whole ones, or a UserError."""
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given < 0 or (given > 1 and given % 1):
        raise UserError(f"{where} is {given!r}; it needs a part of a GPU, such as 0.25, or a whole number of them")
    return given


def _seeds(given: Any, where: str) -> tuple[int, ...]:
    if isinstance(given, list):
        return tuple(whole(seed, where, 0) for seed in given)
    return tuple(range(SEED, SEED + whole(given, where, 1)))


def _settings(given: Any, where: str) -> dict[str, tuple[Any, ...]]:
    if not isinstance(given, dict):
        raise UserError(f"{where} is {given!r}; it needs settings of nablafx fit, as model.lr: [0.001, 0.005]")
    found = {}
    for key, values in given.items():
        _setting_key(key, where)
        found[key] = tuple(values) if isinstance(values, list) else (values,)
        for value in found[key]:
            _setting_value(value, f"{where}.{key}")
    return found


def _setting_key(key: Any, where: str) -> None:
    parts = str(key).split(".")
    if parts[0] not in _SECTIONS or len(parts) < 2 or not all(part.isidentifier() for part in parts):
        near = get_close_matches(parts[0], _SECTIONS, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"they begin with {', '.join(_SECTIONS)}"
        raise UserError(f"{where}: {key!r} is no setting, as model.lr is; {hint}")


def _setting_value(value: Any, where: str) -> None:
    """Numbers and plain words: what could name a class of any package stands in configs only."""
    listed = value if isinstance(value, list) else [value]
    for item in listed:
        if isinstance(item, str) and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", item):
            raise UserError(f"{where}: {item} could name code to import; put it into a config, and name that")
        if item is not None and not isinstance(item, (str, int, float, bool)):
            raise UserError(f"{where} is {value!r}; it needs numbers or words, and what is more a config of its own")
        if isinstance(item, str) and re.search(r"[{}\[\]\n]", item):
            raise UserError(f"{where} is {item!r}; it needs a plain word, or put it into a config of its own")
