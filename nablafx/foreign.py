"""Files that somebody else may have written: YAML, JSON and tables of bounded size, depth and growth; tensors."""

from __future__ import annotations

import csv
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

LARGEST_BYTES = 2**24
"""Of a YAML or JSON file: a run of a thousand test files fills a hundredth of it."""
LARGEST_TABLE_BYTES = 2**28
"""Of a table: a row every 10 ms over a day."""
MOST_VALUES = 100_000
"""In a YAML file with its aliases followed: nine lines of ten aliases to the line before are a billion."""
MOST_COLUMNS = 1000
_LONGEST_LINE = 2**17
_LONGEST_INTEGER = 4096  # bits: Python prints no number of 4300 digits, and messages quote what they are about


# what torch.load raises on bytes that are no checkpoint: its machine stumbles wherever they lead it
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    OSError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


class ForeignError(ValueError):
    """A text file that cannot be read; says why, and not which."""


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file: plain data, in a tree.

    Raises:
        ForeignError: it cannot be read, is no YAML, or grows beyond bounds.
    """
    import yaml

    # its constructors answer a tag on what it is no tag for with whatever they stumble over
    stumbles = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError)
    content = _parsed(path, "YAML", yaml.safe_load, stumbles)
    _check_growth(content)
    return content


def read_json(path: str | Path, largest: int = LARGEST_BYTES) -> Any:
    """The content of a JSON file of at most so many bytes.

    Raises:
        ForeignError: it cannot be read, is no JSON (which has no NaN), or is too large or too deep.
    """
    return _parsed(path, "JSON", lambda text: json.loads(text, parse_constant=_refuse), (ValueError,), largest)


def read_table(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, each with its line and by the names of its columns; cells that a row lacks are empty.

    Raises:
        ForeignError: it cannot be read, is no table, or a line of it has no end.
    """
    try:
        _check_size(path, LARGEST_TABLE_BYTES)
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(_lines(file), skipinitialspace=True, strict=True)
            columns = [name.strip() for name in next(rows, [])]
            if len(columns) > MOST_COLUMNS or len(set(columns)) < len(columns):
                raise ForeignError(f"it has {len(columns)} columns; it needs up to {MOST_COLUMNS}, no two of a name")
            for row in rows:
                if len(row) > len(columns):
                    raise ForeignError(f"line {rows.line_num} has {len(row)} cells for {len(columns)} columns")
                if row:
                    cells = [*row, *[""] * (len(columns) - len(row))]
                    yield rows.line_num, dict(zip(columns, cells, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ForeignError(_first_line(error)) from error


def _lines(file: Any) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ForeignError(f"a line of it has more than {_LONGEST_LINE} letters")
        yield line


def read_tensors(path: str | Path, allowed: Sequence[Any] = ()) -> Any:
    """What torch.save has written, on the CPU; only plain data, tensors and what is allowed are ever built from it.

    Raises:
        ForeignError: it is damaged, no such file, or wants to run code.
    """
    import torch

    try:
        with Path(path).open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        # older files are pickles, whose lengths a file would take as they are; from memory comes no more than is there
        source = path if zipped else io.BytesIO(Path(path).read_bytes())
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(source, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise ForeignError(_first_line(error)) from error


def is_weight(name: Any, value: Any) -> bool:
    """Whether a name is one, and a value a tensor of real numbers that all lie in memory, as weights do.

    A tensor in a file may have any shape over a single number, or none: then its size is nothing but a claim.
    """
    import torch

    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        return False
    dense = value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"
    if not dense or value.is_complex() or str(value.dtype).startswith("torch.float8"):
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes() or not value.numel()


def _refuse(constant: str) -> float:
    raise ForeignError(f"it holds {constant}, which is no number")


def _check_size(path: str | Path, largest: int) -> None:
    size = Path(path).stat().st_size
    if size > largest:
        raise ForeignError(f"it has {size} bytes, and {largest} are the most that is read")


def _parsed(
    path: str | Path,
    kind: str,
    parse: Callable[[str], Any],
    errors: tuple[type[Exception], ...],
    largest: int = LARGEST_BYTES,
) -> Any:
    try:
        _check_size(path, largest)
        content = Path(path).read_bytes()
    except OSError as error:
        raise ForeignError(error.strerror or str(error)) from error
    try:
        return parse(content.decode("utf-8-sig"))
    except ForeignError:
        raise
    except RecursionError as error:
        raise ForeignError("its parts lie too deep in each other") from error
    except errors as error:
        raise ForeignError(f"it is no {kind} text ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _check_growth(content: Any) -> None:
    """ForeignError where what aliases stand for has no end, or is more than anybody walks through."""
    sizes: dict[int, int] = {}

    def size(value: Any) -> int:
        if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
            raise ForeignError(f"a number of it has more than {_LONGEST_INTEGER} bits")
        if not isinstance(value, (dict, list, tuple, set)):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MOST_VALUES + 1  # met again before it is known: it holds itself
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(map(size, parts))
        return sizes[id(value)]

    try:
        total = size(content)
    except RecursionError as error:
        raise ForeignError("its parts lie too deep in each other") from error
    if total > MOST_VALUES:
        raise ForeignError(f"with its aliases followed it has more than {MOST_VALUES} values")
