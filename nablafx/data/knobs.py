"""Knob positions, read from names such as D060_T020: a letter and a percentage for each knob."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from nablafx.data.errors import DataError, Report

_NUMERIC = re.compile(r"([A-Za-z]+)(\d+)")
_WORD = re.compile(r"([A-Za-z])(\w*)")


def parse_setting(setting: str) -> tuple[tuple[str, str], ...]:
    """Split a settings name into (letter, value) pairs, values as text: D060_MHigh gives (D, 060), (M, High).

    Raises DataError when a part does not start with a letter.
    """
    knobs = []
    for part in setting.split("_"):
        match = _NUMERIC.fullmatch(part) or _WORD.fullmatch(part)
        if not match:
            raise DataError(
                f"{setting}: the part {part!r} names no knob; controls need names such as D060_T020 "
                "(a letter and a percentage for each knob)"
            )
        knobs.append((match[1], match[2]))
    return tuple(knobs)


def numeric_knobs(setting: str) -> list[str]:
    """The letters of a settings name whose values are numbers, so that they can be controls."""
    matches = (_NUMERIC.fullmatch(part) for part in setting.split("_"))
    return [match[1] for match in matches if match]


def read_controls(
    settings: Sequence[str], controls: Sequence[str | int]
) -> tuple[tuple[str, ...], dict[str, tuple[float, ...]]]:
    """Look up the asked knobs, by letter or by index, in every settings name.

    Returns the knobs' letters, and for each settings name their positions in [0, 1] ("060" is 0.60). Raises
    one DataError for everything that is wrong: an unknown knob (with the nearest right name), settings that
    do not share their letters, values that are words or beyond 100 %.
    """
    parsed = {setting: parse_setting(setting) for setting in settings}
    first = settings[0]
    letters = [letter for letter, _ in parsed[first]]
    columns = [_knob_index(control, letters, first) for control in controls]
    report = Report()
    values: dict[str, tuple[float, ...]] = {}
    for setting, knobs in parsed.items():
        found = [letter for letter, _ in knobs]
        if found != letters:
            report.problem(
                setting,
                f"has the knobs {', '.join(found)}, but {first} has {', '.join(letters)}: "
                "every settings folder of a device must name the same knobs in the same order",
            )
            continue
        positions = [_position(setting, *knobs[column], report) for column in columns]
        values[setting] = tuple(positions)
    report.settle()
    return tuple(letters[column] for column in columns), values


def _knob_index(control: str | int, letters: list[str], setting: str) -> int:
    having = f"{setting} has the knobs {', '.join(f'{i}: {letter}' for i, letter in enumerate(letters))}"
    if isinstance(control, int) or control.isdigit():
        if not 0 <= int(control) < len(letters):
            raise DataError(f"controls: there is no knob number {control}; {having}, counted from 0")
        return int(control)
    if letters.count(control) > 1:
        raise DataError(f"controls: {control} names several knobs; {having}: give the number instead")
    if control not in letters:
        by_lower = {letter.lower(): letter for letter in letters}
        near = get_close_matches(control.lower(), list(by_lower), n=1, cutoff=0.3)
        hint = f"; did you mean {by_lower[near[0]]}?" if near else ""
        raise DataError(f"controls: unknown knob {control!r}; {having}{hint}")
    return letters.index(control)


def _position(setting: str, letter: str, text: str, report: Report) -> float:
    """Read a percentage as a fraction; what cannot be read is reported, and 0 stands in its place."""
    if not text.isdigit():
        report.problem(
            setting,
            f"the knob {letter} has the value {text!r}, which is not numeric and so cannot be a control: "
            f"leave {letter} out of controls, or name the folders with a percentage ({letter}050)",
        )
        return 0.0
    if int(text) > 100:
        report.problem(
            setting,
            f"the knob {letter} stands at {text}, but a value is a percentage from 000 to 100: rename it",
        )
        return 0.0
    return int(text) / 100
