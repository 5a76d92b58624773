"""Run folders as fit and test leave them, made up."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import yaml

TESTED = [{"name": "solo", "frames": 480_000}]
FILES = [{**TESTED[0], "train": [0, 400_000], "val": [420_000, 480_000]}]


def make_run(
    root: Path,
    name: str = "ts9/tcn-45-s/blackbox",
    seed: int = 42,
    values: tuple[float, float] = (0.1, 0.9),
    finished: bool = True,
    config: dict[str, Any] | None = None,
    **record: Any,
) -> Path:
    """A run with the metrics esr and cosine, in the next free version_N below its name."""
    parent = root / name
    folder = parent / f"version_{len(list(parent.glob('version_*')))}"
    (folder / "checkpoints").mkdir(parents=True)
    device, model, _ = name.split("/")
    content = {
        "seed_everything": seed,
        "model": {"effect": model},
        "data": {"dry": "DRY", "wet": f"W/{device}", "setting": "D050", "controls": None, "segment_length": 144_000},
        "trainer": {"max_steps": 15_000, "logger": {"class_path": f"sink-of-{seed}"}},
    }
    for key, value in (config or {}).items():
        content[key] = {**content.get(key, {}), **value}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    facts = {
        "name": name,
        "seed": seed,
        "parameters": 7_457,
        "sample_rate": 48_000,
        "finished": finished,
        "split": {"fingerprint": "s", "files": FILES},
        "test": {"fingerprint": "t", "files": TESTED},
    }
    (folder / "run.json").write_text(json.dumps({**facts, **record}))
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "esr", "cosine"], ["solo", *values], ["all", *values]])
    return folder
