"""Where a data set lies, what its names say, and which files belong together; no audio is opened here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from nablafx.data.errors import DataError, Report
from nablafx.data.knobs import numeric_knobs, read_controls

PARTS = ("trainval", "test")
SUFFIXES = (".wav", ".flac")
FLAT = ""  # the settings name of files that lie in no settings folder


class Pair(NamedTuple):
    """A dry file and what the device made of it (wet is None when only an output is asked for)."""

    dry: Path
    wet: Path | None
    controls: tuple[float, ...]
    name: str


def resolve_folder(folder: str, argument: str) -> Path:
    """Find a folder: absolute as it is, relative below $DATA_ROOT, else below the current directory.

    Raises DataError naming every place tried.
    """
    path = Path(folder).expanduser()
    root = os.environ.get("DATA_ROOT")
    places = [path] if path.is_absolute() else [Path(root).expanduser() / path] if root else []
    if not path.is_absolute():
        places.append(Path.cwd() / path)
    for place in places:
        if place.is_dir():
            return place
    hint = (
        "" if root or path.is_absolute() else "; DATA_ROOT is not set: set it to the folder that holds your data sets"
    )
    raise DataError(f"{argument}: {folder}: no such folder; tried {', '.join(map(str, places))}{hint}")


def audio_files(folder: Path, role: str, setting: str = FLAT, report: Report | None = None) -> dict[str, Path]:
    """Audio files of a folder by the name that pairs them: without suffix, role and leading settings.

    role is "input" for dry and "target" for wet files; files of the other role are not listed. A name that
    two files share (a.wav, a.flac) is reported as a problem.
    """
    other = ".target" if role == "input" else ".input"
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES or path.stem.endswith(other):
            continue
        name = path.stem.removesuffix(f".{role}")
        if setting:
            name = name.removeprefix(f"{setting}.")
        if name in files and report:
            report.problem(path, f"has the same name as {files[name].name} beside it: remove one of them")
        files[name] = path
    return files


class PairedFolders:
    """The names of one data set: folders, settings, controls and pairs.

    controls: knobs wanted, by letter or index; None where the device is modelled at one setting. setting: the
    one settings folder to use. Raises DataError for folders that are not there and for names that cannot be
    read.
    """

    def __init__(self, dry: str, wet: str, controls: Sequence[str | int] | None, setting: str | None) -> None:
        self.dry = resolve_folder(dry, "dry")
        self.wet, pointed_at = _root_of(resolve_folder(wet, "wet"))
        if pointed_at and setting not in (None, pointed_at):
            raise DataError(f"setting: {setting}, but wet points straight at {pointed_at}: drop one of the two")
        setting = setting or pointed_at
        self._settings = {part: self._list_settings(self.wet / part) for part in PARTS}
        known = sorted({name for names in self._settings.values() for name in names} - {FLAT})
        if setting is not None and setting not in known:
            raise DataError(_unknown_setting(setting, known, self.wet))
        self.parametric = bool(controls)
        self._only = setting or (None if controls else self._single())
        self.control_names: tuple[str, ...] = ()
        self._controls: dict[str, tuple[float, ...]] = {}
        if controls:
            used = [setting] if setting else known
            if not used:
                raise DataError(
                    f"controls: {list(controls)} are read from the names of settings folders, and {self.wet} "
                    "has none: sort the files into folders such as trainval/D060_T020, or leave controls out"
                )
            self.control_names, self._controls = read_controls(used, controls)

    def pairs(self, part: str, report: Report) -> list[Pair]:
        """Pair the files of trainval or test by setting and name; whatever has no partner is reported."""
        dry = self._dry_files(part, report)
        pairs: list[Pair] = []
        complete: dict[str, list[str]] = {name: [] for name in dry}
        settings = self._used_settings(part, report)
        for setting in settings:
            folder = self.wet / part / setting
            wet = audio_files(folder, "target", setting or self._only or FLAT, report)
            if not wet:
                report.problem(folder, "holds no wet .wav or .flac files: put <SETTINGS>.<name>.target.wav files here")
            for name in sorted(wet):
                if name not in dry:
                    report.problem(wet[name], _no_partner(name, list(dry), self.dry / part, "dry", "input"))
                    continue
                complete[name].append(setting)
                pairs.append(self._pair(dry[name], wet[name], setting))
        # where none is at all settings, each setting has a dry file of its own
        shared = any(len(found) == len(settings) for found in complete.values())
        for name, found in complete.items():
            missing = [setting for setting in settings if setting not in found]
            if settings and not found:
                report.problem(dry[name], _no_partner(name, [], self.wet / part, "wet", "target"))
            elif missing and shared:
                report.note(dry[name], f"has no wet file at {', '.join(missing)}; it is used at the other settings")
        return pairs

    def renders(self, report: Report) -> list[Pair]:
        """What `predict` makes: every dry test file at every setting, named as its output without suffix."""
        dry = self._dry_files("test", report)
        if not self.parametric:
            return [Pair(path, None, (), path.stem) for _, path in sorted(dry.items())]
        settings = [self._only] if self._only else self._settings["test"] or self._settings["trainval"]
        return [
            Pair(path, None, self._controls[setting], f"{setting}/{path.stem}")
            for setting in settings
            if setting in self._controls
            for _, path in sorted(dry.items())
        ]

    def _dry_files(self, part: str, report: Report) -> dict[str, Path]:
        files = audio_files(self.dry / part, "input", report=report)
        if not files:
            report.problem(self.dry / part, "holds no dry .wav or .flac files: put <name>.input.wav files here")
        return files

    def _pair(self, dry: Path, wet: Path, setting: str) -> Pair:
        prefixed = not setting or wet.stem.startswith(f"{setting}.")
        name = wet.stem if prefixed else f"{setting}.{wet.stem}"
        return Pair(dry, wet, self._controls.get(setting, ()), name)

    def _used_settings(self, part: str, report: Report) -> list[str]:
        found = self._settings[part]
        if self._only is None or found == [FLAT] or (self._only == FLAT and len(found) == 1):
            used = found
        else:
            used = [self._only] if self._only in found else []
        if not used:
            having = f"holds {', '.join(found)}" if found else "holds no wet files"
            wanted = f"a folder {self._only}" if self._only else "settings folders or wet files"
            report.problem(self.wet / part, f"{having}, and {wanted} is needed here: record or copy it")
        if self.parametric and FLAT in used:
            report.problem(self.wet / part, "holds files outside settings folders, so their controls are unknown")
        return used

    def _single(self) -> str:
        """The one setting of a device that is modelled without controls."""
        found = self._settings["trainval"] or self._settings["test"]
        if len(found) > 1:
            listed, knobs = ", ".join(found), ", ".join(numeric_knobs(found[0]))
            raise DataError(
                f"{self.wet} has {len(found)} settings ({listed}), and neither controls nor setting "
                f"says how to use them: give `controls: [{knobs}]` to model the knobs, "
                f"or `setting: {found[0]}` to model the device as it stands there"
            )
        return found[0] if found else FLAT

    @staticmethod
    def _list_settings(folder: Path) -> list[str]:
        """Settings folders of a part by name; [FLAT] when audio lies in the part itself, [] for nothing."""
        if not folder.is_dir():
            return []
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        loose = audio_files(folder, "target")
        if names and loose:
            outside = ", ".join(path.name for path in loose.values())
            raise DataError(
                f"{folder} holds both settings folders ({', '.join(names)}) and audio files outside them "
                f"({outside}): move them into a settings folder, or away"
            )
        return [FLAT] if loose else names


def _root_of(wet: Path) -> tuple[Path, str | None]:
    """The device folder, and the settings folder when the given path points straight at one."""
    if any((wet / part).is_dir() for part in PARTS):
        return wet, None
    if wet.parent.name in PARTS:
        return wet.parent.parent, wet.name
    raise DataError(f"wet: {wet} holds neither trainval/ nor test/: give the folder that has them")


def _unknown_setting(setting: str, known: list[str], wet: Path) -> str:
    near = get_close_matches(setting, known, n=1, cutoff=0.0)
    hint = f": it has {', '.join(known)}; did you mean {near[0]}?" if near else ", which has no settings folders"
    return f"setting: there is no {setting} in {wet}{hint}"


def _no_partner(name: str, others: list[str], folder: Path, kind: str, role: str) -> str:
    near = get_close_matches(name, others, n=1)
    hint = f" (the nearest name there is {near[0]})" if near else ""
    return f"has no {kind} file {name}.{role}.wav or .flac in {folder}{hint}: add it, or remove this one"
