"""Runs, jobs and sweeps for the tests of many runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STUB = Path(__file__).parent / "stub/sitecustomize.py"


def lay_out(root: Path, name: str, seed: int, finished: bool = False, tested: bool = False, begun: bool = True) -> Path:
    """The folder of a run, as far as it is."""
    folder = root / name / f"version_{len(list((root / name).glob('version_*')))}"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").touch()
    (folder / "run.json").write_text(json.dumps({"name": name, "seed": seed, "finished": finished}))
    if begun:
        (folder / "checkpoints/last.ckpt").write_text("1")
    if tested:
        (folder / "metrics.csv").touch()
    return folder


def job(root: Path, name: str = "data/model/trainer", seed: int = 42, **changed: Any) -> dict[str, Any]:
    """What a keeper is told, for the stub."""
    words = ["--seed_everything", str(seed), "--name", name]
    told = {"name": name, "seed": seed, "words": words, "root": str(root), "cwd": str(root), "retries": 1}
    return {**told, "threads": 3, "environment": {}, "metric": None, **changed}


def starts(file: Path) -> list[dict[str, Any]]:
    """What the stub was started for."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def finished(root: Path) -> list[tuple[str, int]]:
    """(name, seed) of every finished run below a folder."""
    records = [json.loads(path.read_text()) for path in sorted(root.rglob("run.json"))]
    return [(record["name"], record["seed"]) for record in records if record["finished"]]
