"""Nothing that the package or its scripts read runs code: every call that could is in a list, with its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from .conftest import ROOT

FILES = sorted([*(ROOT / "nablafx").rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), ROOT / "hatch_build.py"])
PAGES = sorted(p for kind in ("html", "js") for p in (ROOT / "nablafx").rglob(f"*.{kind}"))
# calls by the end of their dotted name, as `imported` writes it out
ALWAYS = (
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "joblib.load",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "torch.export.load",
    "torch.jit.load",
    "torch.hub.load",
    "os.system",
    "os.popen",
    "os.execv",
    "tempfile.mktemp",
    "runpy.run_path",
    "eval",
    "exec",
    "compile",
    "__import__",
    "markupsafe.Markup",
)
# and by file: why these may stay
REASONS = {
    ("nablafx/export/program.py", "torch.export.load"): "reads back what it wrote a moment ago",
    ("nablafx/kernels/backends.py", "import_module"): "a module of nablafx.kernels, by the names of its table",
    ("nablafx/kernels/proof.py", "import_module"): "a module of nablafx.kernels, by the name of a family",
    ("nablafx/export/formats.py", "import_module"): "by the names of its own table",
    ("nablafx/export/bundle.py", "import_module"): "PARTS, of nablafx itself",
    ("scripts/published_training.py", "import_module"): "the published package, which whoever calls it has installed",
}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(tree: ast.AST) -> dict[str, str]:
    """What the names of a file stand for: of `import numpy as np` and `from yaml import load`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def whole(node: ast.AST, names: dict[str, str]) -> str:
    first, *rest = dotted(node).split(".")
    return ".".join([names.get(first, first), *rest])


def dangers(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every call that may run what a file says."""
    tree = ast.parse(source)
    names = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = whole(node.func, names)
        # handed on, to be called elsewhere
        handed = {whole(argument, names) for argument in node.args} & {*ALWAYS, "torch.load", "importlib.import_module"}
        yield from ((node.lineno, each.removeprefix("importlib.")) for each in handed)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        literal = bool(node.args) and isinstance(node.args[0], ast.Constant)
        said = {word: given.get(word, "False") != "False" for word in ("allow_pickle", "shell", "trust_remote_code")}
        wrong = (
            name in ALWAYS,
            name.endswith(".extractall"),
            name == "torch.load" and given.get("weights_only") != "True",
            name == "jinja2.Environment" and given.get("autoescape") != "True",
            name == "importlib.import_module" and not literal,
            any(said.values()),
        )
        if any(wrong):
            yield node.lineno, name.removeprefix("importlib.")


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_runs_what_it_reads(file):
    place = str(file.relative_to(ROOT))
    found = [f"{place}:{line}: {name}" for line, name in dangers(file.read_text()) if (place, name) not in REASONS]
    assert not found, f"{found}: read weights and plain data alone, or say in REASONS why this may stay"


def test_reasons_are_of_calls_that_are_there():
    there = {(str(file.relative_to(ROOT)), name) for file in FILES for _, name in dangers(file.read_text())}
    assert set(REASONS) == there


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=safe)",
        "from torch import load\nload(p)",
        "import pickle as p\np.loads(b)",
        "from yaml import load as read\nread(t)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import subprocess\nsubprocess.run(w, shell=True)",
        "import os\nos.system(w)",
        "eval(w)",
        "import importlib\nimportlib.import_module(w)",
        "archive.extractall(p)",
        "import torch\ntorch.export.load(p)",
        "from jinja2 import Environment\nEnvironment()",
        "from yaml import load\nparsed(p, load)",
        "from importlib import import_module\nmap(import_module, words)",
    ],
)
def test_a_danger_is_seen(source):
    assert len(list(dangers(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(p, weights_only=True)",
        "import yaml\nyaml.safe_load(t)",
        "import numpy as np\nnp.load(p)",
        "model.eval()\nmodel.load(p)",
        "import re\nre.compile(w)",
        "from importlib import import_module\nimport_module('torch')",
    ],
)
def test_what_is_safe_is_left_alone(source):
    assert list(dangers(source)) == []


@pytest.mark.parametrize("file", PAGES, ids=lambda path: path.name)
def test_pages_write_text_and_no_html(file):
    """What a page shows is set as text, and no template leaves out the escaping."""
    unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|\|\s*safe|\bon\w+="
    assert not re.findall(unsafe, file.read_text())
