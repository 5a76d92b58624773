"""Knobs that move while audio is rendered."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import numpy as np

from nablafx.errors import UserError
from nablafx.foreign import ForeignError, read_table

TIME = "time"


class Automation:
    """Values of knobs over time: linear between the rows of a table, held before its first and after its last row."""

    def __init__(self, times: np.ndarray, values: np.ndarray) -> None:
        """times (N,) in seconds, rising; values (N, P) in [0, 1]."""
        self._times = times
        self._values = values

    def at(self, seconds: float) -> tuple[float, ...]:
        """The knobs (P,) at a time."""
        return tuple(float(np.interp(seconds, self._times, column)) for column in self._values.T)

    def rests_until(self, seconds: float) -> float:
        """Up to when the knobs stay as they are at a time; infinity: for ever. The time itself: they move."""
        after = int(np.searchsorted(self._times, seconds, side="right"))
        if after == 0:
            return float(self._times[0])
        if after == len(self._times):
            return math.inf
        moves = np.flatnonzero((self._values[after:] != self._values[after - 1]).any(axis=1))
        if not len(moves):
            return math.inf
        return float(self._times[after + moves[0] - 1]) if moves[0] else seconds


def read_automation(path: str | Path, names: tuple[str, ...], start: dict[str, float]) -> Automation:
    """Read a CSV file with the columns `time` (in seconds) and any of the knobs' names; the others stay at `start`.

    Raises:
        UserError: the file cannot be read, names an unknown knob, or has a value or an order that cannot be.
    """
    if not names:
        raise UserError(f"{path}: the model has no knobs to move")
    numbers = array("d")
    columns: list[str] = []
    try:
        for line, row in read_table(path):
            columns = columns or _checked_columns(path, list(row), names)
            numbers.extend(_row(path, line, row, columns))
    except ForeignError as error:
        raise UserError(f"the automation {path} cannot be read: {error}") from error
    if not numbers:
        raise UserError(f"the automation {path} has no rows; it needs one at least")
    content = np.array(numbers).reshape(-1, len(columns))
    times = content[:, columns.index(TIME)]
    falls = np.flatnonzero(np.diff(times) < 0)
    if len(falls):
        raise UserError(f"the automation {path}: its times must rise, and {times[falls[0] + 1]:g} follows a later one")
    values = [
        content[:, columns.index(name)] if name in columns else np.full(len(times), start[name]) for name in names
    ]
    return Automation(times, np.stack(values, axis=1))


def _checked_columns(path: str | Path, columns: list[str], names: tuple[str, ...]) -> list[str]:
    unknown = [name for name in columns if name != TIME and name not in names]
    if unknown or TIME not in columns:
        raise UserError(
            f"the automation {path} has the columns {', '.join(columns) or 'none'}; it needs {TIME} (in seconds) and "
            f"any of {', '.join(names)}, each once"
        )
    return columns


def _row(path: str | Path, line: int, row: dict[str, str], columns: list[str]) -> list[float]:
    values = []
    for name in columns:
        try:
            value = float(row[name])
        except ValueError:
            value = math.nan
        if not (0 <= value < math.inf and (name == TIME or value <= 1)):
            needed = "seconds from 0 on" if name == TIME else "a number from 0 to 1"
            raise UserError(f"the automation {path}, line {line}: {name} is {row[name][:40]!r}; it needs {needed}")
        values.append(value)
    return values
