"""What comes with the package besides code: configs, pre-trained weights and demo recordings."""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from nablafx.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
# in a wheel they lie within the package, in a checkout beside it
ROOT = _PACKAGE / "shipped" if (_PACKAGE / "shipped").is_dir() else _PACKAGE.parent
"""The folder that holds cfg/, weights/ and demo/."""
CFG = ROOT / "cfg"
OPTIONS = ("-c", "--config")


def find_config(given: str) -> str:
    """A config file as given, or else the shipped one of that name, with or without its suffix: model/tcn/45-s.yaml.

    Raises:
        UserError: there is neither; the message names the nearest shipped ones.
    """
    path = Path(given).expanduser()
    if path.is_file():
        return given
    for place in (CFG / path, ROOT / path):
        for found in (place, place.with_name(f"{place.name}.yaml")):
            if not path.is_absolute() and found.is_file():
                return str(found)
    known = {name.removesuffix(".yaml"): name for name in names()}
    wanted = given.removeprefix("cfg/").removesuffix(".yaml")
    near = get_close_matches(wanted, known, 3, 0.5) or [name for name in known if name.endswith(f"/{path.stem}")][:3]
    hint = f"; did you mean {' or '.join(known[name] for name in near)}?" if near else ""
    raise UserError(
        f"there is no config {given}, neither here ({Path.cwd()}) nor among the shipped ones{hint} "
        "`nablafx configs` lists those"
    )


def found_configs(words: Sequence[str]) -> list[str]:
    """The words of a command with the names after -c and --config as files that are there."""
    found = []
    takes = False
    for word in words:
        option, equals, name = word.partition("=")
        if takes:
            word, takes = find_config(word), False
        elif word in OPTIONS:
            takes = True
        elif equals and option in OPTIONS:
            word = f"{option}={find_config(name)}"
        found.append(word)
    return found


def names() -> list[str]:
    """The shipped configs, as -c takes them: model/tcn/45-s.yaml."""
    return sorted(path.relative_to(CFG).as_posix() for path in CFG.rglob("*.yaml"))


def description(name: str) -> str:
    """What the first line of a shipped config says of it."""
    with (CFG / name).open() as file:
        first = file.readline()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def copy(files: dict[Path, Path]) -> int:
    """Copy files to where they are wanted; returns how many. What is there already stays, if it is equal.

    Raises:
        UserError: other files of those names are there; nothing is copied then.
    """
    differing = [str(to) for file, to in files.items() if to.exists() and not filecmp.cmp(file, to, shallow=False)]
    if differing:
        shown = ", ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
        raise UserError(f"{shown}: exists already and differs; remove it, or name another folder. Nothing was copied")
    try:
        for file, to in files.items():
            to.parent.mkdir(parents=True, exist_ok=True)
            temporary = to.with_name(f".{to.name}.{os.getpid()}")
            shutil.copyfile(file, temporary)
            os.replace(temporary, to)
    except OSError as error:
        raise UserError(f"cannot copy to {to.parent}: {error}; name another folder") from error
    return len(files)


def run_configs(words: list[str]) -> None:
    """Run `nablafx configs WORDS`.

    Raises:
        UserError: no config matches, or a copy would replace another file.
    """
    parser = argparse.ArgumentParser(prog="nablafx configs", description="List the shipped configs, or copy them.")
    parser.add_argument("word", nargs="*", help="list those whose name or description holds all words")
    parser.add_argument("--copy", metavar="DIR", help="copy them to this folder, with their folders")
    arguments = parser.parse_args(words)
    told = {name: description(name) for name in names()}
    wanted = [word.lower() for word in arguments.word]
    chosen = {name: text for name, text in told.items() if all(w in f"{name} {text}".lower() for w in wanted)}
    if not chosen:
        raise UserError(f"no shipped config has {' and '.join(arguments.word)} in its name or description")
    if arguments.copy is None:
        _print(chosen)
        return
    count = copy({CFG / name: Path(arguments.copy) / name for name in chosen})
    print(f"{count} configs in {arguments.copy}")


def _print(chosen: dict[str, str]) -> None:
    if not sys.stdout.isatty():
        # for grep: a line each, whole
        width = max(map(len, chosen))
        print("\n".join(f"{name:{width}}  {text}".rstrip() for name, text in chosen.items()))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("config", "what it is", title="nablafx fit -c CONFIG …", title_justify="left")
    before = None
    for name, text in chosen.items():
        folder = name.rpartition("/")[0]
        if before not in (None, folder):
            table.add_section()
        table.add_row(name, text)
        before = folder
    Console().print(table)


def run_demo_data(words: list[str]) -> None:
    """Run `nablafx demo-data WORDS`.

    Raises:
        UserError: a copy would replace another file.
    """
    about = "Lay out the recordings that the demo configs are about (data/demo-*.yaml)."
    parser = argparse.ArgumentParser(prog="nablafx demo-data", description=about)
    parser.add_argument("folder", metavar="DIR", help="where; the configs look for demo/ here or below $DATA_ROOT")
    folder = Path(parser.parse_args(words).folder)
    source = ROOT / "demo"
    count = copy({file: folder / file.relative_to(source) for file in sorted(source.rglob("*")) if file.is_file()})
    print(f"{count} files in {folder}; their terms are in {folder / 'LICENSE.txt'}")
    command = "nablafx fit -c data/demo-overdrive.yaml -c model/lstm/32.yaml -c trainer/quickstart.yaml"
    print(f"Next: {_place(folder)}{command}")


def _place(folder: Path) -> str:
    """What the configs must be told where the recordings are not in ./demo."""
    if folder.resolve() == Path.cwd() / "demo":
        return ""
    if folder.resolve().name == "demo":
        return f"DATA_ROOT={folder.resolve().parent} "
    return f"(once {folder} is called demo, or with --data.dry {folder / 'DRY'} --data.wet {folder / 'GX-TS9'}) "
