"""The house keeps its order: imports never point up, files and functions stay small, the first screen is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT

PACKAGE = ROOT / "nablafx"
FILES = sorted(PACKAGE.rglob("*.py"))
# from the ground up; rooms of one floor do not know each other
FLOORS = [
    {"errors", "processes"},
    {"foreign"},
    {"shipped", "trust", "writing"},
    {"kernels"},
    {"dsp"},
    {"layers"},
    {"conditioning", "processors"},
    {"controllers"},
    {"effects"},
    {"analysis", "data", "embeddings", "plots"},
    {"recording", "training"},
    {"convert", "report"},
    {"export"},
    {"sweep"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# whoever draws, reads files or learns about effects has no business with their insides
HEARS_NOTHING_OF = {
    "data": {"effects", "conditioning", "layers", "dsp", "kernels"},
    "embeddings": {"effects", "controllers", "conditioning", "processors", "layers", "kernels"},
    "plots": {"effects", "data"},
}
FILE_LINES, FUNCTION_LINES = 300, 40


def room_of(parts: tuple[str, ...]) -> str:
    """The part of the package that a module's path below nablafx/ lies in; the package itself is on the ground."""
    return parts[0] if parts else "errors"


def names(node: ast.AST, package: list[str]) -> list[str]:
    """What an import statement imports, by absolute names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) - node.level + 1] if node.level else []
    module = ".".join([*base, *([node.module] if node.module else [])])
    # `from nablafx import effects` imports a room too
    return [f"{module}.{alias.name}" if module == "nablafx" else module for alias in node.names]


def imports(source: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """Line and room of every import of a part of nablafx, also within functions and TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        for name in names(node, package):
            first, *below = name.split(".")
            if first == "nablafx":
                yield node.lineno, room_of(tuple(below))


def complaints(source: str, path: Path) -> list[str]:
    """Lines of a file below nablafx/ that import from where they must not."""
    parts = (*path.parts[:-1], path.stem) if path.stem != "__init__" else path.parts[:-1]
    here = room_of(parts)
    found = []
    for line, there in imports(source, ["nablafx", *path.parts[:-1]]):
        if there not in FLOOR or here not in FLOOR:
            found.append(f"{path}:{line}: {here} or {there} is no room of the house")
        elif there != here and (FLOOR[there] >= FLOOR[here] or there in HEARS_NOTHING_OF.get(here, ())):
            found.append(f"{path}:{line}: {here} must not import {there}: {source.splitlines()[line - 1].strip()}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_never_point_up(file):
    assert complaints(file.read_text(), file.relative_to(PACKAGE)) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("dsp/ssm.py", "from nablafx.layers.held import Held"),
        ("layers/held.py", "import nablafx.effects"),
        ("layers/held.py", "from nablafx import effects"),
        ("layers/held.py", "from ..effects import tcn"),
        ("effects/tcn.py", "def f():\n    from nablafx.training.system import System"),
        ("effects/tcn.py", "if TYPE_CHECKING:\n    from nablafx.cli import main"),
        ("plots/comparison.py", "from nablafx.data import Batch"),
        ("data/files.py", "from nablafx.effects import Effect"),
        ("embeddings/mel.py", "from nablafx.effects import Effect"),
        ("errors.py", "from .dsp import ssm"),
        ("__init__.py", "from nablafx.effects import TCN"),
        ("attic/x.py", "from nablafx.dsp import ssm"),
    ],
)
def test_an_import_that_points_up_is_seen(path, source):
    (told,) = complaints(source, Path(path))
    assert told.startswith(f"{path}:{len(source.splitlines())}:")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("training/callbacks.py", "from nablafx.plots import plot_comparison"),
        ("effects/tcn.py", "from .stack import Block\nfrom nablafx import dsp, errors\nimport torch"),
        ("effects/__init__.py", "from .tcn import TCN"),
        ("cli.py", "def f():\n    from nablafx.training.command import run"),
    ],
)
def test_an_import_that_points_down_is_allowed(path, source):
    assert complaints(source, Path(path)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_small(file):
    source = file.read_text()
    assert len(source.splitlines()) < FILE_LINES
    long = {f"{name}: {size}" for name, size in functions(source) if size >= FUNCTION_LINES}
    assert not long, f"{file.relative_to(ROOT)} has functions of {FUNCTION_LINES} lines or more: {long}"


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and lines of every function, without its decorators and docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            has_docstring = ast.get_docstring(node, clean=False) is not None
            docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring


def test_lines_are_counted_without_the_docstring():
    source = '@decorated\ndef f(\n    x,\n):\n    """One.\n\n    Two.\n    """\n    y = x\n\n    return y\n'
    assert list(functions(source)) == [("f", 6)]
    assert list(functions("def g(x):\n    return x\n")) == [("g", 2)]


@pytest.mark.parametrize("words", [["--help"], [], ["--version"], ["fitt"]], ids=" ".join)
def test_first_screen_imports_nothing_heavy(words):
    command = [sys.executable, "-X", "importtime", "-m", "nablafx", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == (2 if words == ["fitt"] else 0)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "nablafx.cli" in modules
    heavy = {"torch", "lightning", "pytorch_lightning", "numpy", "scipy", "matplotlib", "jsonargparse", "yaml", "rich"}
    assert not {module for module in modules if module.split(".")[0] in heavy}
