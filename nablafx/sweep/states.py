"""How far runs are, by what lies in their folders."""

from __future__ import annotations

import json
from pathlib import Path

from nablafx.training.runs import CHECKPOINTS

NOT_BEGUN, BEGUN, TRAINED, STOPPED, DONE = "-", "begun", "trained", "stopped", "done"
STATES = [NOT_BEGUN, BEGUN, TRAINED, STOPPED, DONE]
"""From nothing to all: there is a checkpoint to go on from, fit has ended, a scheduler ended it, it is tested."""
ENDS = (STOPPED, DONE)
STOP_FILE = "stopped.json"


def folders_of(root: Path, name: str) -> dict[Path, int | None]:
    """The folders of runs of that name that have a record, and their seeds; in the order in which they were begun."""
    found: dict[Path, int | None] = {}
    records = (root / name).glob("version_*/run.json")
    for record in sorted(records, key=lambda path: (len(path.parent.name), path.parent.name)):
        try:
            found[record.parent] = json.loads(record.read_text())["seed"]
        except (OSError, ValueError, TypeError, LookupError):
            continue
    return found


def runs_of(root: Path, name: str) -> dict[int | None, tuple[str, Path]]:
    """By seed, the state of a run of that name, and its folder; of several the one that is farthest."""
    found: dict[int | None, tuple[str, Path]] = {}
    for folder, seed in folders_of(root, name).items():
        state = state_of(folder)
        if seed not in found or STATES.index(state) >= STATES.index(found[seed][0]):
            found[seed] = (state, folder)
    return found


def state_of(folder: Path) -> str:
    """The state of the run in a folder."""
    try:
        finished = json.loads((folder / "run.json").read_text()).get("finished")
    except (OSError, ValueError, AttributeError):
        return NOT_BEGUN
    if finished and (folder / "metrics.csv").is_file():
        return DONE
    if (folder / STOP_FILE).is_file():
        return STOPPED
    if finished:
        return TRAINED
    return BEGUN if (folder / CHECKPOINTS / "last.ckpt").is_file() else NOT_BEGUN
