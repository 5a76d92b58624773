"""A data set in the ToneTwist layout, written whole or not at all, and the config that names it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import soundfile
import yaml

from nablafx.data.errors import DataError
from nablafx.data.files import PARTS
from nablafx.data.knobs import numeric_knobs, parse_setting
from nablafx.errors import UserError
from nablafx.recording.files import whole_file

Writer = Callable[[Path], None]
"""What makes a file at a path."""
CONFIG = "data.yaml"


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A hidden folder inside the data set's, gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(mkdtemp(prefix=".import-", dir=folder))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def write_files(folder: Path, files: Mapping[str, Writer], overwrite: bool) -> list[str]:
    """Make files by their names below a folder: all of them first, and only then each in its place.

    A file that is there with the same content stays. Raises UserError for others, unless they are to be overwritten,
    and where the folder cannot be written.
    """
    try:
        with _staging(folder) as staging:
            for name, write in files.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                write(staging / name)
            fresh = [name for name in files if not _same(staging / name, folder / name)]
            there = [name for name in fresh if (folder / name).exists()]
            if there and not overwrite:
                more = f" and {len(there) - 1} more" if len(there) > 1 else ""
                raise UserError(
                    f"{folder / there[0]}{more} would be replaced by something else: say --overwrite, or give another "
                    "--out, --device or --setting"
                )
            for name in fresh:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / name, folder / name)
            return fresh
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{folder} cannot be written ({error}): make room there, or give another --out") from error


def audio_writer(audio: np.ndarray, rate: int, subtype: str) -> Writer:
    """Writes samples (N,) as wav."""
    return lambda path: soundfile.write(path, audio, rate, subtype=subtype, format="WAV")


def _same(new: Path, old: Path) -> bool:
    """Whether a file holds what is to be written: its audio, or else its bytes (a wav file may hold a date)."""
    if not old.is_file() or new.stat().st_size != old.stat().st_size:
        return False
    if new.suffix not in (".wav", ".flac"):
        return new.read_bytes() == old.read_bytes()
    try:
        return soundfile.info(new).subtype == soundfile.info(old).subtype and np.array_equal(
            soundfile.read(new)[0], soundfile.read(old)[0], equal_nan=True
        )
    except soundfile.SoundFileError:
        return False


def read_config(folder: Path, wet: Path, overwrite: bool) -> dict[str, Any]:
    """What data.yaml of a folder says already; nothing where there is none, or it is to be overwritten.

    Raises UserError for one that is of another device.
    """
    path = folder / CONFIG
    if overwrite or not path.exists():
        return {}
    try:
        told = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        told = None
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, dict) or data.get("wet") != str(wet.resolve()):
        raise UserError(f"{path} is not of {wet}: give another --out, or --overwrite")
    return told


def write_config(folder: Path, dry: Path, wet: Path, rate: int, title: str, overwrite: bool) -> Path:
    """Write data.yaml for what lies there now: its folders, its knobs or its one setting, its rate where not 48 kHz.

    What else it says already is kept.
    """
    told = read_config(folder, wet, overwrite)
    kept = {key: value for key, value in told.get("data", {}).items() if key not in ("setting", "controls")}
    data = {**kept, "dry": str(dry.resolve()), "wet": str(wet.resolve()), **_knobs(wet)}
    if rate != 48_000:
        data["sample_rate"] = rate
    text = yaml.safe_dump({**told, "data": data}, sort_keys=False, default_flow_style=None)
    with whole_file(folder / CONFIG) as temporary:
        temporary.write_text(f"# {title}\n{text}")
    return folder / CONFIG


def _knobs(wet: Path) -> dict[str, object]:
    """`controls` where several settings have numeric knobs, `setting` where there is one folder, else nothing."""
    settings = sorted({path.name for part in PARTS for path in (wet / part).glob("*") if path.is_dir()})
    if not settings:
        return {}
    knobs = numeric_knobs(settings[0])
    if len(settings) == 1 or not knobs:
        return {"setting": settings[0]}
    letters = [letter for letter, _ in parse_setting(settings[0])]
    unique = len(set(knobs)) == len(knobs)
    return {"controls": [*knobs] if unique else [i for i, letter in enumerate(letters) if letter in knobs]}


def check_setting(setting: str) -> str:
    """A name for a settings folder, as the data module reads it."""
    try:
        for _, value in parse_setting(setting):
            if value.isdigit() and int(value) > 100:
                raise DataError(f"{setting}: {value} is a percentage above 100")
    except DataError as error:
        raise UserError(f"--setting: {error}") from error
    return setting
