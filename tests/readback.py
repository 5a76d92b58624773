"""Reads back what the sinks wrote, with as little of the sinks' own code as can be."""

import csv
import io
import json
import struct
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile


class Clip(NamedTuple):
    """One logged sound: `samples` (T, C) in float32."""

    step: int
    samples: np.ndarray
    sample_rate: int


class Log(NamedTuple):
    """All that a sink holds, by tag. `figures` holds the steps at which one was logged."""

    scalars: dict[str, list[tuple[int, float]]]
    audio: dict[str, list[Clip]]
    figures: dict[str, list[int]]


def read_history(path: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Scalars of a `history.csv`, by column: (step, value) wherever a cell is filled."""
    scalars: dict[str, list[tuple[int, float]]] = {}
    with Path(path).open(newline="") as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            for key, cell in row.items():
                if cell:
                    scalars.setdefault(key, []).append((step, float(cell)))
    return scalars


def read_tensorboard(folder: str | Path) -> Log:
    """The event files below `folder` (the run's folder or its `tensorboard`)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = next(iter(sorted(Path(folder).rglob("events.out.tfevents.*"))))
    kept = {"scalars": 0, "audio": 0, "images": 0}  # 0: all
    found = EventAccumulator(str(events.parent), size_guidance=kept).Reload()
    tags = found.Tags()
    return Log(
        {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags["scalars"]},
        {tag: [_clip(e.step, e.encoded_audio_string) for e in found.Audio(tag)] for tag in tags["audio"]},
        {tag: [e.step for e in found.Images(tag)] for tag in tags["images"]},
    )


def read_wandb(folder: str | Path) -> Log:
    """All offline runs in `<folder>/wandb`; the step is W&B's `trainer/global_step`."""
    log = Log({}, {}, {})
    for run in sorted(Path(folder, "wandb").glob("offline-run-*")):
        for record in wandb_records(next(run.glob("*.wandb"))):
            if record.WhichOneof("record_type") == "history":
                _sort_in(log, _items(record.history.item), run / "files")
    return log


def _items(flat: list) -> dict:
    """W&B stores a dict as one entry a leaf, whose `nested_key` is the path to it."""
    items: dict = {}
    for entry in flat:
        *path, leaf = entry.nested_key or [entry.key]
        owner = items
        for part in path:
            owner = owner.setdefault(part, {})
        owner[leaf] = json.loads(entry.value_json)
    return items


def _sort_in(log: Log, items: dict, files: Path) -> None:
    step = items.pop("trainer/global_step", -1)
    for key, value in items.items():
        if key.startswith("_"):
            continue
        if not isinstance(value, dict):
            log.scalars.setdefault(key, []).append((step, float(value)))
        elif value["_type"] == "audio-file":
            clip = _clip(step, (files / value["path"]).read_bytes())
            log.audio.setdefault(key, []).append(clip)
        elif value["_type"] == "image-file":
            assert (files / value["path"]).stat().st_size == value["size"]
            log.figures.setdefault(key, []).append(step)


def _clip(step: int, wav: bytes) -> Clip:
    samples, sample_rate = soundfile.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    return Clip(step, samples, sample_rate)


def wandb_records(path: Path) -> list:
    """Records of the `.wandb` file of a run that has been finished, once W&B's own process has written the last."""
    for _ in range(200):
        records = _records(path.read_bytes())
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        time.sleep(0.05)
    raise AssertionError(f"{path} never came to its end: {[r.WhichOneof('record_type') for r in records]}")


def _records(data: bytes) -> list:
    """7 bytes of header, then LevelDB's log format in blocks of 32 KiB; the last record may be half written."""
    from wandb.proto.wandb_internal_pb2 import Record

    block, head, at = 32768, 7, 7  # a chunk's head: checksum (4 bytes), length (2), kind (1)
    records, parts = [], b""
    while at + head <= len(data):
        if block - at % block < head:  # too little is left of this block for a head
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if at + head + length > len(data):
            break
        parts += data[at + head : at + head + length]
        at += head + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(parts))
            parts = b""
    return records
