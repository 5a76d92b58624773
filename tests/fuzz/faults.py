"""Faults: what is done to a good file, byte by byte or value by value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

# of a size, a count, an offset, a rate
SIZES = sorted({0, 1, 2, 3, 127, *(2**n - d for n in (8, 15, 16, 24, 31, 32, 40, 63, 64) for d in (0, 1))})
TEXTS = (
    "",
    " ",
    "x",
    "0",
    "-1",
    "1e999",
    "../../x",
    "/",
    "[/bold]",
    "{0}",
    "%s%n",
    "a\nb",
    "\0",
    "é",
    "\ud800",
    "x" * 5000,
)
NUMBERS = (*SIZES, *(-n for n in SIZES), 10**30, 10**400, 0.5, -0.0, 1e-320, 1e39, 1.7e308, float("nan"), float("inf"))
VALUES = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS),
    st.sampled_from([None, True, False]),
    st.builds(list),
    st.builds(dict),
    st.builds(lambda n: ["x"] * n, st.sampled_from([1, 2, 100])),
    st.builds(lambda n: nested(n), st.sampled_from([3, 90])),
    st.just({"class_path": "os.system", "init_args": {"command": "false"}}),
)


def nested(depth: int) -> list[Any]:
    """[[…]]"""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def damaged(draw: st.DrawFn, good: bytes, head: int = 256) -> bytes:
    """The bytes of a good file with one to four faults in them, half of them in its head."""
    data = bytearray(good)
    for fault in draw(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4)):
        top = min(len(data), head) if draw(st.booleans()) else len(data)
        fault(draw, data, draw(st.integers(0, max(top - 1, 0))))
    return bytes(data)


def _flip(draw: st.DrawFn, data: bytearray, at: int) -> None:
    if data:
        data[at] ^= draw(st.integers(1, 255))


def _size(draw: st.DrawFn, data: bytearray, at: int) -> None:
    width, order = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from(["little", "big"]))
    data[at : at + width] = (draw(st.sampled_from(SIZES)) % 256**width).to_bytes(width, order)


def _cut(draw: st.DrawFn, data: bytearray, at: int) -> None:
    del data[at:]


def _remove(draw: st.DrawFn, data: bytearray, at: int) -> None:
    del data[at : at + draw(st.sampled_from([1, 2, 4, 8, 24, 100]))]


def _repeat(draw: st.DrawFn, data: bytearray, at: int) -> None:
    piece = data[at : at + draw(st.sampled_from([1, 4, 8, 24, 100, 1000]))]
    data[at:at] = piece * draw(st.sampled_from([1, 2, 30]))


def _splice(draw: st.DrawFn, data: bytearray, at: int) -> None:
    source = draw(st.integers(0, max(len(data) - 1, 0)))
    length = draw(st.sampled_from([1, 4, 16, 64, 512]))
    data[at : at + length] = data[source : source + length]


def _foreign(draw: st.DrawFn, data: bytearray, at: int) -> None:
    data[at:at] = draw(st.binary(min_size=1, max_size=40))


FAULTS: list[Callable[[st.DrawFn, bytearray, int], None]] = [
    _flip,
    _size,
    _size,
    _cut,
    _remove,
    _repeat,
    _splice,
    _foreign,
]


@st.composite
def altered(draw: st.DrawFn, good: Any, values: st.SearchStrategy[Any] = VALUES) -> Any:
    """A tree of dicts and lists with one to three of its values replaced, removed, doubled or wrapped."""
    tree = {"": deepcopy(good)}
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "wrap", "add"]))
        if what == "replace":
            holder[key] = deepcopy(draw(values))
        elif what == "remove" and holder is not tree:
            del holder[key]
        elif what == "wrap":
            holder[key] = draw(st.sampled_from([[holder[key]], {"x": holder[key]}, [holder[key]] * 2]))
        elif isinstance(holder[key], dict):
            holder[key][draw(st.sampled_from(TEXTS))] = deepcopy(draw(values))
        elif isinstance(holder[key], list):
            holder[key].append(deepcopy(draw(values)))
    return tree[""]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a tree, as what holds it and where."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)
