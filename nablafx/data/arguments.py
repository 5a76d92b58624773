"""What the arguments of a data set must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nablafx.data.errors import DataError

_NEEDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "segment_length": (lambda value: value >= 1, "1 sample or more"),
    "context": (lambda value: value >= 0, "0 samples or more"),
    "batch_size": (lambda value: value >= 1, "1 item or more"),
    "split": (lambda value: value in ("time", "file"), "time or file"),
    "val_fraction": (lambda value: 0 < value < 1, "a fraction between 0 and 1"),
    "data_to_use": (lambda value: 0 < value <= 1, "a fraction above 0, at most 1"),
    "sample_rate": (lambda value: value >= 1, "a rate in Hz"),
}


def check_arguments(**given: Any) -> None:
    """Raise DataError where an argument of the data module is out of its range."""
    for name, value in given.items():
        holds, needed = _NEEDS[name]
        if value is None or not holds(value):
            raise DataError(f"{name}: {value!r}: needs {needed}")
