"""Reading finished runs: their config, their record and their test metrics. Nothing heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx.errors import UserError
from nablafx.foreign import ForeignError, read_json, read_table, read_yaml

if TYPE_CHECKING:
    from nablafx.training.record import Heard, Record

# what two runs of one model may differ in
REPEATED = {"seed_everything", "name", "log_root", "ckpt_path"}
REPEATED |= {"fad", "media", "trainer.logger", "trainer.default_root_dir", "checkpoint.dirpath"}
SHOWN = ("esr", "mrstft", "mae")  # of the metrics, before the others
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "effect", "nablafx", "torch", "device"), (str,)),
    **dict.fromkeys(("parameters", "trainable", "sample_rate", "steps", "epochs"), (int,)),
    **dict.fromkeys(("seed", "receptive_field", "best_step"), (int, type(None))),
    **dict.fromkeys(("seconds", "best_validation_loss"), (int, float, type(None))),
    "controls": (list,),
}
"""What a record holds of each fact, where it has it."""
NOT_RECORDED: Heard = {"fingerprint": "not recorded", "files": []}


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
    record: Record
    metrics: dict[str, float]
    files: dict[str, dict[str, float]]

    @property
    def seed(self) -> int | None:
        """None where none was set."""
        seed = self.record.get("seed")
        return None if isinstance(seed, bool) else seed

    @property
    def data(self) -> str:
        """The data set: the first part of the name, or what the wet folder is called."""
        first, *rest = self.name.split("/")
        return first if len(rest) == 2 else Path(str(self._data.get("wet", ""))).name

    @property
    def model(self) -> str:
        """The second part of the name, or all of it where it is not made of three."""
        parts = self.name.split("/")
        return parts[1] if len(parts) == 3 else self.name

    @property
    def trainer(self) -> str:
        """The last of three parts of the name."""
        parts = self.name.split("/")
        return parts[2] if len(parts) == 3 else ""

    @property
    def settings(self) -> dict[str, Any]:
        """By dotted name, what runs that differ in their seed only have in common."""
        return dict(_leaves(self.config))

    @property
    def device(self) -> dict[str, str]:
        """What is modelled: runs of one device may be compared, if their protocols are one."""
        return {key: str(self._data.get(key)) for key in ("wet", "setting", "controls")}

    @property
    def facts(self) -> dict[str, Any]:
        """With `heard`, what must be equal for figures to be comparable."""
        return {
            "dry audio": self._data.get("dry"),
            "channel": self._data.get("channel"),
            "sample rate": self.record.get("sample_rate"),
            "segment_length": self._data.get("segment_length"),
            "data_to_use": self._data.get("data_to_use"),
        }

    @property
    def heard(self) -> dict[str, Heard]:
        return {"test files": self.record["test"], "split": self.record.get("split", NOT_RECORDED)}

    @property
    def length(self) -> dict[str, Any]:
        """How long it may train."""
        trainer = self.config.get("trainer") or {}
        return {
            key: trainer[key] for key in ("max_steps", "max_epochs", "max_time") if trainer.get(key) not in (None, -1)
        }

    @property
    def _data(self) -> dict[str, Any]:
        return self.config.get("data") or {}


def read_runs(places: Iterable[str | Path]) -> tuple[list[Run], dict[Path, str]]:
    """The finished runs in folders and below them, each once, and of the others why they are left out.

    Raises:
        UserError: a folder is not there, holds no run, or a run in it is damaged.
    """
    folders: dict[Path, Path] = {}
    for place in map(Path, places):
        if not place.is_dir():
            raise UserError(f"there is no folder {place}; name runs (logs/…/version_0) or a folder above them")
        found = _run_folders(place)
        if not found:
            raise UserError(
                f"there is no run in {place}: a run's folder holds config.yaml and run.json or checkpoints/"
            )
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    runs: list[Run] = []
    skipped: dict[Path, str] = {}
    for folder in folders.values():
        record, config = _parsed(folder / "run.json", read_json), _parsed(folder / "config.yaml", read_yaml)
        reason = _missing(folder, record)
        if reason:
            skipped[folder] = reason
            continue
        _check(folder, record, config)
        rows = _metrics(folder / "metrics.csv")
        name = str(record.get("name") or folder.parent.name)
        runs.append(Run(folder, name, config, record, rows.pop("all"), rows))
    return runs, skipped


def known_metrics(runs: Iterable[Run]) -> list[str]:
    """Every metric that a run has."""
    return list(dict.fromkeys(metric for run in runs for metric in run.metrics))


def _run_folders(place: Path) -> list[Path]:
    """In the order in which they were begun, as far as version_N tells."""
    # W&B keeps files of the same name further down
    folders = [path.parent for path in place.rglob("config.yaml")]
    runs = [path for path in folders if (path / "run.json").is_file() or (path / "checkpoints").is_dir()]
    return sorted(
        runs, key=lambda path: [(int(t), "") if t.isdigit() else (0, t) for t in re.split(r"(\d+)", str(path))]
    )


def _missing(folder: Path, record: Any) -> str:
    """Why a run cannot be compared, and what to do; nothing where it can."""
    config = folder / "config.yaml"
    if not record:
        return f"it has no run.json: it is of another version, or was converted; nablafx test -c {config}"
    if not record.get("finished", True):
        if any((folder / "checkpoints").glob("*.ckpt")):
            return f"unfinished: nablafx fit -c {config} --ckpt_path last"
        return f"unfinished, with no checkpoint to go on from: nablafx fit -c {config}"
    if not (folder / "metrics.csv").is_file():
        return f"not tested: nablafx test -c {config}"
    if "test" not in record:
        return f"not tested since it was trained on: nablafx test -c {config}"
    return ""


def _check(folder: Path, record: dict[str, Any], config: dict[str, Any]) -> None:
    for part in ("data", "trainer"):
        if not isinstance(config.get(part, {}), dict):
            raise UserError(f"{folder / 'config.yaml'}: {part} holds no settings; remove that run, or mend it")
    for fact, kinds in _KINDS.items():
        if fact in record and not isinstance(record[fact], kinds):
            told = f"{folder / 'run.json'}: {fact} is {str(record[fact])[:80]!r}, which cannot be"
            raise UserError(f"{told}; remove that run, or mend it")
    for part in ("split", "test"):
        heard = record.get(part, NOT_RECORDED)
        try:
            [file["name"] for file in heard["files"] if int(file["frames"]) < 0]
            hash(heard["fingerprint"])
        except (KeyError, TypeError, ValueError) as error:
            told = f"{folder / 'run.json'}: {part} does not say which files it is of"
            raise UserError(f"{told}; remove that run, or test and train it again") from error


def _parsed(path: Path, read: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        return {}
    try:
        content = read(path)
    except ForeignError as error:
        raise UserError(f"{path} cannot be read ({error}); remove that run, or mend it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings; remove that run, or mend it")
    return content


def _metrics(path: Path) -> dict[str, dict[str, float]]:
    try:
        # single files have no distances between sets
        rows = {
            row.pop("file"): {key: float(value) for key, value in row.items() if value != ""}
            for _, row in read_table(path)
        }
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); test that run again") from error
    if "all" not in rows:
        raise UserError(f"{path} has no row 'all'; test that run again")
    return rows


def _leaves(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        name = f"{above}{key}"
        if name in REPEATED:
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value
