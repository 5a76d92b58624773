"""Names of configs from patterns: `{tcn,gcn}/*+tfilm` is every TCN and GCN with TFiLM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

from nablafx.errors import UserError
from nablafx.shipped import CFG, find_config

_GLOB = re.compile(r"[*?[]")


def spread(pattern: str) -> Iterator[str]:
    """The words that a pattern's braces stand for, as in a shell: a{,-b} is a and a-b."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        yield pattern
        return
    for choice in found[1].split(","):
        yield from spread(f"{pattern[: found.start()]}{choice}{pattern[found.end() :]}")


def configs(kind: str, patterns: Sequence[str]) -> list[str]:
    """What -c takes of the configs of a kind (data, model, loss, trainer), each once.

    Raises:
        UserError: nothing has such a name.
    """
    words = (word for pattern in patterns for word in spread(pattern))
    return list(dict.fromkeys(name for word in words for name in _named(kind, word)))


def models(patterns: Sequence[str]) -> list[tuple[str, ...]]:
    """As `configs`, of NET+OVERLAY…: a model's config and those of model/with/ that are added to it.

    Raises:
        UserError: nothing has such a name.
    """
    found: list[tuple[str, ...]] = []
    for word in (word for pattern in patterns for word in spread(pattern)):
        net, *overlays = word.split("+")
        found += product(_named("model", net), *(_named("model/with", overlay) for overlay in overlays))
    return list(dict.fromkeys(found))


def _named(kind: str, word: str) -> list[str]:
    """A file that is there goes first, as with -c; else the shipped configs of that kind and name."""
    if Path(word).suffix == ".yaml" and not _GLOB.search(word) and Path(word).is_file():
        return [word]
    wanted = word.removeprefix("cfg/").removeprefix(f"{kind}/").removesuffix(".yaml")
    if not _GLOB.search(wanted):
        # its message names the nearest ones
        find_config(f"{kind}/{wanted}.yaml")
        return [f"{kind}/{wanted}.yaml"]
    files = sorted(path.relative_to(CFG / kind).with_suffix("").as_posix() for path in (CFG / kind).rglob("*.yaml"))
    # what is put on top, as conditionings and loggers are, is chosen by its own name
    there = [file for file in files if not file.startswith(("with/", "logger/"))]
    found = [f"{kind}/{file}.yaml" for file in there if fnmatchcase(file, wanted)]
    if not found:
        near = get_close_matches(wanted, there, 3, 0.4)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise UserError(f"no config below {kind}/ is called {word}{hint}. `nablafx configs {kind}/` lists them")
    return found
