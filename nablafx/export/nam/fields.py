"""Reading a JSON file that somebody else wrote: every value is asked for by its kind and its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nablafx import foreign

LARGEST = 3.4e38  # in 32 bits
LARGEST_FILE = 2**26
"""Bytes: weights of several millions. Players' models have thousands."""


def read_json(path: Path) -> Fields:
    """The object in a JSON file.

    Raises:
        ValueError: it cannot be read, is too large, or holds something else.
    """
    return Fields(foreign.read_json(path, LARGEST_FILE), "")


class Fields:
    """A JSON object, and where in the file it stands."""

    def __init__(self, content: Any, place: str) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{place or 'the file'} must be a JSON object, and is {_short(content)}")
        self.content = content
        self._place = place

    def __contains__(self, key: str) -> bool:
        """Whether the key is there, and not null."""
        return self.content.get(key) is not None

    def place(self, key: str) -> str:
        """How to name a key's value to people."""
        return f"{self._place}.{key}" if self._place else key

    def changed(self, **values: Any) -> Fields:
        """The same object with other values."""
        return Fields({**self.content, **values}, self._place)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`."""
        return whole(self._get(key, default), self.place(key), low, high)

    def integers(self, key: str, low: int, high: int) -> list[int]:
        """At least one whole number, each from `low` to `high`."""
        return [whole(value, f"{self.place(key)}[{n}]", low, high) for n, value in enumerate(self.items(key))]

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        return finite(self._get(key, default), self.place(key))

    def numbers(self, key: str) -> list[float]:
        """At least one finite number."""
        return [finite(value, f"{self.place(key)}[{n}]") for n, value in enumerate(self.items(key))]

    def flag(self, key: str, default: bool | None = None) -> bool:
        """true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{self.place(key)} must be true or false, and is {_short(value)}")
        return value

    def text(self, key: str, choices: Sequence[str] = (), default: str | None = None) -> str:
        """A text, one of `choices` where there are any."""
        return text(self._get(key, default), self.place(key), choices)

    def items(self, key: str) -> list[Any]:
        """A list that is not empty."""
        value = self._get(key, None)
        if not isinstance(value, list) or not value:
            raise ValueError(f"{self.place(key)} must be a list with something in it, and is {_short(value)}")
        return value

    def object(self, key: str) -> Fields:
        return Fields(self._get(key, None), self.place(key))

    def objects(self, key: str) -> list[Fields]:
        """At least one object."""
        return [Fields(value, f"{self.place(key)}[{n}]") for n, value in enumerate(self.items(key))]

    def _get(self, key: str, default: Any) -> Any:
        value = self.content.get(key, default)
        if value is None:
            raise ValueError(f"{self.place(key)} is missing")
        return value


def whole(value: Any, place: str, low: int, high: int) -> int:
    """`value`, if it is a whole number from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{place} must be a whole number from {low} to {high}, and is {_short(value)}")
    return value


def is_finite(value: Any) -> bool:
    """Whether it is a number that is finite in 32 bits; compared, since whole numbers of JSON may be of any size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def finite(value: Any, place: str) -> float:
    """`value`, if it is a number that is finite in 32 bits."""
    if not is_finite(value):
        raise ValueError(f"{place} must be a finite number, and is {_short(value)}")
    return float(value)


def text(value: Any, place: str, choices: Sequence[str] = ()) -> str:
    """`value`, if it is a text, and one of `choices` where there are any."""
    if not isinstance(value, str) or (choices and value not in choices):
        raise ValueError(
            f"{place} must be {'one of ' + ', '.join(choices) if choices else 'a text'}, and is {_short(value)}"
        )
    return value


def _short(value: Any) -> str:
    told = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return told if len(told) <= 40 else told[:37] + "…"
