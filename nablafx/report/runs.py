"""Reading finished runs: their config, their record and their test metrics. Nothing heavy is imported."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nablafx.errors import UserError

# what two runs of one model may differ in
REPEATED = ("seed_everything", "name", "log_root", "ckpt_path")


@dataclass(frozen=True)
class Run:
    """A run that has been trained and tested.

    Attributes:
        folder: of the run.
        name: data/model/trainer.
        config: resolved.
        record: the content of run.json.
        metrics: over all test files, by name.
        files: the same of each file.
    """

    folder: Path
    name: str
    config: dict[str, Any]
    record: dict[str, Any]
    metrics: dict[str, float]
    files: dict[str, dict[str, float]]

    @property
    def seed(self) -> Any:
        return self.record.get("seed")

    @property
    def data(self) -> str:
        """The data set: the first part of the name, or what the wet folder is called."""
        first, *rest = self.name.split("/")
        return first if len(rest) == 2 else Path(str(self.config.get("data", {}).get("wet", ""))).name

    @property
    def model(self) -> str:
        """Model and trainer, or the whole name where it is not made of three parts."""
        rest = self.name.split("/")[1:]
        return " / ".join(rest) if len(rest) == 2 else self.name

    @property
    def recipe(self) -> str:
        """Equal for runs that differ in their seed only."""
        kept = {key: value for key, value in self.config.items() if key not in REPEATED}
        kept["trainer"] = {
            k: v for k, v in (kept.get("trainer") or {}).items() if k not in ("logger", "default_root_dir")
        }
        kept["checkpoint"] = {k: v for k, v in (kept.get("checkpoint") or {}).items() if k != "dirpath"}
        return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def device(self) -> tuple[str, ...]:
        """What is modelled: runs of one device may be compared, if their protocols are one."""
        data = self.config.get("data") or {}
        return tuple(str(data.get(key)) for key in ("wet", "setting", "controls", "channel"))

    @property
    def protocol(self) -> dict[str, Any]:
        """What must be equal for figures to be comparable, in words."""
        data = self.config.get("data") or {}
        split, test = self.record.get("split") or {}, self.record.get("test") or {}
        return {
            "dry audio": data.get("dry"),
            "sample rate": self.record.get("sample_rate"),
            "test files": _told(test.get("files") or [], test.get("fingerprint")),
            "split": _told(split.get("files") or [], split.get("fingerprint")),
            "segment_length": data.get("segment_length"),
            "data_to_use": data.get("data_to_use"),
        }

    @property
    def length(self) -> dict[str, Any]:
        """How long it may train."""
        trainer = self.config.get("trainer") or {}
        return {
            key: trainer[key] for key in ("max_steps", "max_epochs", "max_time") if trainer.get(key) not in (None, -1)
        }


def read_runs(places: Iterable[str | Path]) -> tuple[list[Run], dict[Path, str]]:
    """The finished runs in folders and below them, and of the others why they are left out.

    Raises:
        UserError: a folder is not there, holds no run, or a run in it is damaged.
    """
    runs: list[Run] = []
    skipped: dict[Path, str] = {}
    for place in map(Path, places):
        if not place.is_dir():
            raise UserError(f"there is no folder {place}; name runs (logs/…/version_0) or a folder above them")
        folders = list(dict.fromkeys(_run_folders(place)))
        if not folders:
            raise UserError(f"there is no run in {place}: a run's folder holds config.yaml and checkpoints/")
        for folder in folders:
            if folder in skipped or any(run.folder == folder for run in runs):
                continue
            read = _read(folder)
            if isinstance(read, str):
                skipped[folder] = read
            else:
                runs.append(read)
    return runs, skipped


def _run_folders(place: Path) -> list[Path]:
    # W&B keeps files of the same name further down
    configs = [place / "config.yaml", *sorted(place.rglob("config.yaml"))]
    return [path.parent for path in configs if path.is_file() and (path.parent / "checkpoints").is_dir()]


def _read(folder: Path) -> Run | str:
    """The run, or why it cannot be compared."""
    record = _parsed(folder / "run.json", json.loads)
    config = _parsed(folder / "config.yaml", yaml.safe_load)
    if not record:
        return "it has no run.json: it is of another version, or was converted; test it again"
    if not record.get("finished", True):
        return f"unfinished: nablafx fit -c {folder / 'config.yaml'} --ckpt_path last"
    if not (folder / "metrics.csv").is_file():
        return f"not tested: nablafx test -c {folder / 'config.yaml'}"
    rows = _metrics(folder / "metrics.csv")
    name = str(record.get("name") or folder.parent.name)
    return Run(folder, name, config, record, rows.pop("all"), rows)


def _parsed(path: Path, parse: Any) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = parse(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}); remove that run, or mend it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings; remove that run, or mend it")
    return content


def _metrics(path: Path) -> dict[str, dict[str, float]]:
    try:
        with path.open(newline="") as file:
            rows = {row.pop("file"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); test that run again") from error
    if "all" not in rows:
        raise UserError(f"{path} has no row 'all'; test that run again")
    return rows


def _told(files: list[dict[str, Any]], mark: Any) -> str:
    frames = sum(int(file.get("frames", 0)) for file in files)
    return f"{len(files)} files, {frames:,} samples ({mark})"
