"""Which files a check looks at: a data section of a config, dry and wet folders or files, or a folder of anything."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser

from nablafx.data import PairedAudioDataModule
from nablafx.data.errors import Report
from nablafx.data.files import FLAT, PARTS, SUFFIXES, Pair, PairedFolders, audio_files
from nablafx.errors import UserError
from nablafx.foreign import ForeignError, read_yaml
from nablafx.shipped import find_config


class Gathered(NamedTuple):
    """Pairs, or files by themselves as pairs without a wet one, and where their folders begin.

    Attributes:
        place: by which their figures are kept.
    """

    pairs: list[Pair]
    channel: str | int | None
    dry_root: Path
    wet_root: Path
    place: Path


def from_configs(names: Sequence[str], report: Report) -> Gathered:
    """The data section of config files, later ones over earlier; other sections are left alone.

    Raises:
        UserError: they have none, or it is no data module's.
    """
    section: dict[str, Any] = {}
    for name in names:
        path = Path(find_config(name))
        try:
            content = read_yaml(path)
        except ForeignError as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        found = content.get("data") if isinstance(content, dict) else None
        section.update(found if isinstance(found, dict) else {})
    if not section:
        raise UserError(f"{', '.join(names)}: there is no section data; give a file such as cfg/data/demo-ts9.yaml")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(PairedAudioDataModule, "data")
    try:
        data = parser.instantiate_classes(parser.parse_object({"data": section})).data
    except ArgumentError as error:
        raise UserError(f"{', '.join(names)}: {error}") from error
    return Gathered(_of(data.folders, report), data.channel, data.folders.dry, data.folders.wet, data.folders.wet)


def from_places(dry: Path, wet: Path, channel: str | int | None, report: Report) -> Gathered:
    """Two files, two folders of files of one name, or two folders of the layout, at all of their settings.

    Raises:
        UserError: they are not there, or one is a file and one a folder.
    """
    for option, path in (("--dry", dry), ("--wet", wet)):
        if not path.exists():
            raise UserError(f"{option} {path}: there is no such file or folder")
    if dry.is_file() != wet.is_file():
        raise UserError(f"--dry {dry} and --wet {wet}: give two files, or two folders")
    if dry.is_file():
        return Gathered([Pair(dry, wet, (), wet.stem)], channel, dry.parent, wet.parent, wet.parent)
    if not any((wet / part).is_dir() for part in PARTS):
        return Gathered(_by_name(dry, wet, report), channel, dry, wet, wet)
    settings = {path.name for part in PARTS if (wet / part).is_dir() for path in (wet / part).iterdir()}
    folders = sorted(name for name in settings if any((wet / part / name).is_dir() for part in PARTS))
    wanted: list[str | None] = [*folders] if folders else [None]
    # not below $DATA_ROOT, as a config's would be
    dry, wet = dry.absolute(), wet.absolute()
    pairs = []
    for setting in wanted:
        pairs += _of(PairedFolders(str(dry), str(wet), None, setting), report)
    return Gathered(pairs, channel, dry, wet, wet)


def from_folder(folder: Path, channel: str | int | None) -> Gathered:
    """All audio files below a folder, without partners.

    Raises:
        UserError: there is none.
    """
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise UserError(f"{folder} holds no {' or '.join(SUFFIXES)} files; give a folder of recordings")
    pairs = [Pair(path, None, (), path.relative_to(folder).with_suffix("").as_posix()) for path in found]
    return Gathered(pairs, channel, folder, folder, folder)


def _of(folders: PairedFolders, report: Report) -> list[Pair]:
    """Both parts of a data set, or the one that it has."""
    there = [part for part in PARTS if (folders.dry / part).is_dir() or (folders.wet / part).is_dir()]
    return [pair for part in there for pair in folders.pairs(part, report)]


def _by_name(dry: Path, wet: Path, report: Report) -> list[Pair]:
    one, other = audio_files(dry, "input", FLAT, report), audio_files(wet, "target", FLAT, report)
    for name in sorted(one.keys() ^ other.keys()):
        path, kind = (one[name], "wet") if name in one else (other[name], "dry")
        report.problem(path, f"has no {kind} file of its name: add it, or remove this one")
    return [Pair(one[name], other[name], (), name) for name in sorted(one.keys() & other.keys())]
