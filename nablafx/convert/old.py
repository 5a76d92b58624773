"""Arguments of a published config, taken one by one, and what is to be said of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nablafx.errors import UserError

PACKAGES = ("nablafx", "nnlafx")  # the latter until the framework got its name


class NoCounterpartError(UserError):
    """A published model that cannot be said in this framework's terms."""


@dataclass
class Notes:
    """What a conversion changed, and what it had to leave out, a sentence each."""

    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def change(self, text: str) -> None:
        if text not in self.changed:
            self.changed.append(text)

    def miss(self, text: str) -> None:
        if text not in self.missing:
            self.missing.append(text)


class Arguments:
    """The `init_args` of one published object.

    Args:
        where: how messages call it.
        given: by name; each is taken once.
        notes: hears of what nobody took.
    """

    def __init__(self, where: str, given: dict[str, Any] | None, notes: Notes) -> None:
        self.where = where
        self.notes = notes
        self._left = dict(given or {})

    def take(self, name: str, default: Any = None) -> Any:
        """The value of an argument; where the config has none, the published default."""
        return self._left.pop(name, default)

    def need(self, name: str, default: Any, needed: Any, fix: str = "") -> None:
        """Take an argument that has only one value here.

        Raises:
            NoCounterpartError: it has another one.
        """
        value = self.take(name, default)
        if value != needed:
            raise NoCounterpartError(
                f"{self.where}: {name} is {value}, and here it is always {needed}{fix and ': '}{fix}; "
                "this model has no counterpart"
            )

    def drop(self, *names: str) -> None:
        """Take arguments that mean nothing here, and say nothing of them."""
        for name in names:
            self._left.pop(name, None)

    def end(self) -> None:
        """Say of what is left that it is lost."""
        for name, value in self._left.items():
            if value is not None:
                self.notes.miss(f"{self.where}.{name}: {value} has no counterpart")


def split_class(given: Any, notes: Notes) -> tuple[str, Arguments, bool]:
    """(class name, its arguments, whether it is one of the published framework) of a {class_path, init_args}."""
    if isinstance(given, str):
        given = {"class_path": given}
    if not isinstance(given, dict) or not isinstance(given.get("class_path"), str):
        raise UserError(f"needed a class_path, and got {given!r}; is this a config of the published framework?")
    path = given["class_path"].split(".")
    return path[-1], Arguments(path[-1], given.get("init_args"), notes), path[0] in PACKAGES


def described(cls: Callable, values: dict[str, Any]) -> str | dict[str, Any]:
    """How a config says an object of `cls`: its name, and of its arguments those that differ from the defaults."""
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
    given = {name: value for name, value in values.items() if _plain(defaults.get(name)) != _plain(value)}
    return {"class_path": cls.__name__, "init_args": given} if given else cls.__name__


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
