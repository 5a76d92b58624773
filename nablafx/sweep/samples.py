"""Settings drawn at random: the trials of a search."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nablafx.errors import UserError


@dataclass(frozen=True)
class Range:
    """What a setting is drawn from.

    Attributes:
        kind: `linear` or `log`, uniform over a range on that scale; or `choice`, one of `values`.
        values: the ends of the range, or the choices.
    """

    kind: str
    values: tuple[Any, ...]

    def draw(self, chance: random.Random) -> Any:
        """One value; a number of a range has four digits, so that a run's name says all of it."""
        if self.kind == "choice":
            return chance.choice(self.values)
        low, high = (math.log(end) if self.kind == "log" else end for end in self.values)
        value = chance.uniform(low, high)
        return float(f"{math.exp(value) if self.kind == 'log' else value:.4g}")


def draws(ranges: Mapping[str, Range], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` sets of settings; those of a smaller count are the first of a larger one's."""
    chance = random.Random(seed)
    return [{key: ranges[key].draw(chance) for key in sorted(ranges)} for _ in range(count)]


def range_of(given: Any, where: str) -> Range:
    """A `Range` from {log: [1.0e-4, 0.1]}, {linear: [0, 1]} or {choice: [16, 32]}.

    Raises:
        UserError: it is none.
    """
    need = "it needs {log: [low, high]}, {linear: [low, high]} or {choice: [values]}"
    if not isinstance(given, dict) or len(given) != 1:
        raise UserError(f"{where} is {given!r}; {need}")
    ((kind, values),) = given.items()
    if kind not in ("log", "linear", "choice") or not isinstance(values, list) or not values:
        raise UserError(f"{where} is {given!r}; {need}")
    if kind == "choice":
        return Range(kind, tuple(values))
    hint = "; YAML takes 1e-4 for a word: write 1.0e-4" if any(isinstance(value, str) for value in values) else ""
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values):
        raise UserError(f"{where}: the ends of {kind} are {values}; they need to be numbers{hint}")
    if len(values) != 2 or not values[0] < values[1] or (kind == "log" and values[0] <= 0):
        least = " above 0" if kind == "log" else ""
        raise UserError(f"{where}: the ends of {kind} are {values}; it needs two numbers{least}, the lower one first")
    return Range(kind, tuple(map(float, values)))
