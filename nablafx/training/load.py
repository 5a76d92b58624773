"""A trained model from its run's folder or its checkpoint, without its data. Nothing of the files is executed."""

from __future__ import annotations

from argparse import ArgumentError
from pathlib import Path
from typing import Any, NamedTuple

from nablafx.data import PairedAudioDataModule
from nablafx.errors import UserError
from nablafx.foreign import ForeignError, read_yaml
from nablafx.training.build import build_with
from nablafx.training.checkpoints import CheckpointError, read_checkpoint
from nablafx.training.record import read_record
from nablafx.training.runs import checkpoint, folder_of
from nablafx.training.system import System


class Loaded(NamedTuple):
    """A trained model.

    Attributes:
        system: in evaluation mode, on the CPU.
        control_names: of its device's knobs.
        config: resolved, of the run.
        folder: of the run.
        checkpoint: the file of the weights.
    """

    system: System
    control_names: tuple[str, ...]
    config: dict[str, Any]
    folder: Path
    checkpoint: Path

    def data(self) -> PairedAudioDataModule | None:
        """The data of its run, read file by file; None for a config without."""
        section = self.config.get("data")
        if not isinstance(section, dict):
            return None
        return PairedAudioDataModule(**{**section, "preload": False, "cache_on_device": False})


def load(place: str | Path, which: str = "best") -> Loaded:
    """The model of a run's folder (its `best` or `last` checkpoint), or of a checkpoint file in one.

    Raises:
        UserError: there is none, its config is missing or of another version, or the weights do not fit it.
    """
    path = Path(place)
    if not path.exists():
        raise UserError(f"there is no run and no checkpoint {path}; give a folder such as logs/…/version_0")
    folder, weights = (path, checkpoint(path, which)) if path.is_dir() else (folder_of(path), path)
    config = _config(folder)
    record = read_record(folder)
    # runs of before had no names in their records
    names = tuple(map(str, record["controls"])) if isinstance(record.get("controls"), list) else _names_of(config)
    rate = record.get("sample_rate") or _data(config).get("sample_rate") or 48_000
    if not isinstance(rate, int):
        raise UserError(f"{folder}: its sample_rate is {rate!r}, and a number is needed; mend run.json or config.yaml")
    content = read_checkpoint(weights)
    state = {
        key.removeprefix("effect."): value for key, value in content["state_dict"].items() if key.startswith("effect.")
    }
    try:
        system = System(
            build_with(state, weights, config["model"]["effect"], len(names), rate), initialise=False, sample_rate=rate
        )
    except CheckpointError:
        raise
    except (ArgumentError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'config.yaml'} describes no effect of this version: {error}") from error
    return Loaded(system.eval(), names, config, folder, weights)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        content = read_yaml(path)
    except ForeignError as error:
        raise UserError(f"{path} cannot be read ({error}); a run has its config there") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError(f"{path} has no section model; a run has its resolved config there")
    return content


def _names_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The knobs of runs that did not write them down: letters as they are, else numbers."""
    controls = _data(config).get("controls")
    return tuple(map(str, controls)) if isinstance(controls, list) else ()


def _data(config: dict[str, Any]) -> dict[str, Any]:
    """The section data; empty where there is none."""
    section = config.get("data")
    return section if isinstance(section, dict) else {}
