"""Names and folders of runs: LOG_ROOT / data / model / trainer / version_N."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nablafx.errors import UserError
from nablafx.foreign import ForeignError, read_yaml

CHECKPOINTS = "checkpoints"
RUN_LOCK = ".lock"
SEED = 42  # of runs that name none; repeats count on from it
# the first process of a node tells those that it starts where the run is
FOLDER_VARIABLE = "NABLAFX_RUN_FOLDER"
_KINDS = ("data", "model", "trainer")


def run_name(files: Sequence[str | Path]) -> str:
    """data/model/trainer from the names of config files: ts9/tcn-250-l+tfilm/blackbox.

    A file's kind is its folder below cfg/ (cfg/model/tcn/250-l.yaml); elsewhere it is the one section that it has. What
    lies in model/with/ or loss/ is added with a plus; loggers do not count.
    """
    names: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    extras = []
    for file in map(Path, files):
        kind, below = _place(file)
        if kind == "trainer" and below[0] == "logger":
            continue
        if kind == "loss":
            names["model"].append(below[-1])
        elif kind in names:
            names[kind].append(below[-1] if below[0] == "with" else "-".join(below))
        else:
            extras.append(below[-1])
    parts = ["+".join(name) for name in names.values() if name] or ["+".join(extras)]
    return "/".join(re.sub(r"[^\w.+-]", "-", part) for part in parts if part) or "run"


def read_config(file: str | Path) -> Any:
    """The content of a config.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return read_yaml(file)
    except ForeignError as error:
        raise UserError(f"the config {file} cannot be read ({error}); mend it") from error


def group_of(name: str) -> str | None:
    """data/model of a run's name, which its repeats and its other trainers share; None for a name of other parts."""
    data, model, trainer = [*name.split("/"), "", ""][:3]
    return f"{data}/{model}" if trainer else None


def tags_of(name: str) -> list[str]:
    """The parts of a run's name, those after a plus as well."""
    return list(dict.fromkeys(part for part in re.split(r"[/+]", name) if part))


def new_folder(log_root: str | Path, name: str) -> Path:
    """Make and return the run's own folder, version_0 or the next one free.

    Raises:
        UserError: the folder cannot be made, or the name leads out of `log_root`.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    if given and os.environ.get("LOCAL_RANK", "0") != "0":
        return Path(given)
    parent = _parent(log_root, name)
    versions = _versions(parent)
    number = versions[-1] + 1 if versions else 0
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            folder = parent / f"version_{number}"
            try:
                # making it claims it: two runs never write one folder
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
    except OSError as error:
        raise UserError(f"cannot make the run's folder {parent}: {error}; set LOG_ROOT or --log_root") from error
    return folder


def give_back(folder: Path) -> None:
    """Remove a claimed folder in which nothing began, and those above it that are empty then."""
    if folder.exists() and {path.name for path in folder.iterdir()} <= {RUN_LOCK}:
        (folder / RUN_LOCK).unlink(missing_ok=True)
        os.removedirs(folder)


def latest_folder(log_root: str | Path, name: str) -> Path:
    """The newest folder of runs of this name that holds a checkpoint.

    Raises:
        UserError: there is none, or the name leads out of `log_root`.
    """
    parent = _parent(log_root, name)
    for number in reversed(_versions(parent)):
        folder = parent / f"version_{number}"
        if checkpoints(folder):
            return folder
    raise UserError(
        f"there is no run with a checkpoint in {parent}; train one with nablafx fit and the same -c files, or name a "
        "file: --ckpt_path FILE.ckpt"
    )


def folder_beside(files: Iterable[str | Path]) -> Path | None:
    """The run that one of the config files is the resolved config of, or None."""
    folders = (Path(str(file)).parent for file in files if Path(str(file)).name == "config.yaml")
    return next((folder for folder in folders if checkpoints(folder)), None)


def checkpoint(folder: Path, which: str) -> Path:
    """The file of the "best" or the "last" checkpoint of a run; the last one where none was validated.

    Raises:
        UserError: the run's checkpoints have other names.
    """
    for name in dict.fromkeys((which, "last", "best")):
        path = folder / CHECKPOINTS / f"{name}.ckpt"
        if path.exists():
            return path
    others = ", ".join(checkpoints(folder))
    raise UserError(f"there is neither best nor last in {folder / CHECKPOINTS}; name one: --ckpt_path FILE ({others})")


def folder_of(checkpoint_file: Path) -> Path:
    """The run's folder that a checkpoint lies in."""
    parent = checkpoint_file.resolve().parent
    return parent.parent if parent.name == CHECKPOINTS else parent


def checkpoints(folder: Path) -> list[str]:
    """Names of a run's checkpoints; what begins with a dot is not written to its end."""
    return sorted(path.name for path in (folder / CHECKPOINTS).glob("[!.]*.ckpt"))


def _parent(log_root: str | Path, name: str) -> Path:
    # a config names the run, and may be of somebody else
    if ".." in Path(name).parts or Path(name).is_absolute() or "\0" in name:
        raise UserError(
            f"the name {name!r} leads out of {log_root}; give words with slashes between, or set --log_root"
        )
    return Path(log_root) / name


def _versions(parent: Path) -> list[int]:
    found = (re.fullmatch(r"version_(\d+)", path.name) for path in parent.glob("version_*"))
    return sorted(int(match[1]) for match in found if match)


def _place(file: Path) -> tuple[str | None, list[str]]:
    """A config file's kind and its path below the folder of that kind, without the suffix."""
    folders = list(file.parts[:-1])
    if "cfg" in folders:
        below = folders[len(folders) - folders[::-1].index("cfg") :]
        if below and below[0] in (*_KINDS, "loss"):
            return below[0], [*below[1:], file.stem]
    content = read_config(file) if file.exists() else None
    sections = [kind for kind in _KINDS if isinstance(content, dict) and kind in content]
    return (sections[0] if len(sections) == 1 else None), [file.stem]
