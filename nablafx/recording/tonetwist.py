"""ToneTwist AFx (github.com/mcomunita/tonetwist-afx-dataset), unpacked anywhere: it is used where it lies.

A device is a folder with trainval/ and test/; its dry audio lies beside it, or beside a folder above it, in DRY or
DRY-with-markers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import soundfile
import yaml

from nablafx.data.errors import DataError
from nablafx.data.files import PARTS, PairedFolders, audio_files
from nablafx.data.knobs import numeric_knobs
from nablafx.errors import UserError
from nablafx.recording.writing import write_files

_DRY = ("DRY", "DRY-with-markers")


def import_tonetwist(source: Path, out: Path, overwrite: bool) -> str:
    """Write a config for each device below `source`, or for each of its settings where they share no knobs.

    Raises UserError where there is no device with dry audio.
    """
    configs, without = {}, []
    for device in _devices(source):
        dry = _dry_of(device, source)
        if dry is None:
            without.append(device)
            continue
        for name, data in _sections(dry, device, source):
            text = f"# {device.name} (ToneTwist)\n" + yaml.safe_dump({"data": data}, sort_keys=False)
            configs[f"{name}.yaml"] = text
    zips = [p for p in sorted(source.rglob("*.zip")) if not (p.with_suffix("")).is_dir()]
    packed = f"\nStill packed: {', '.join(p.name for p in zips)}" if zips else ""
    if not configs:
        missing = f"; no DRY folder lies beside {', '.join(map(str, without))}" if without else ""
        raise UserError(f"{source} holds no device with trainval and test and its dry audio{missing}{packed}")
    write_files(out, {name: _text_writer(text) for name, text in configs.items()}, overwrite)
    lost = f"\nWithout a DRY folder beside it, left out: {', '.join(d.name for d in without)}" if without else ""
    return f"Written {len(configs)} configs in {out}: {', '.join(sorted(configs))}{lost}{packed}"


def _text_writer(text: str):
    return lambda path: path.write_text(text)


def _devices(source: Path) -> Iterator[Path]:
    for folder, below, _ in sorted(os.walk(source)):
        if set(PARTS) <= set(below):
            below[:] = []
            if Path(folder).name not in _DRY:
                yield Path(folder)


def _dry_of(device: Path, source: Path) -> Path | None:
    for above in device.parents:
        for name in _DRY:
            if (above / name / PARTS[0]).is_dir():
                return above / name
        if above == source:
            break
    return None


def _sections(dry: Path, wet: Path, source: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """(name, `data` section) of each config of a device."""
    data: dict[str, object] = {"dry": str(dry.resolve()), "wet": str(wet.resolve())}
    first = next(iter(audio_files(dry / PARTS[0], "input").values()), None)
    if first is not None and (rate := soundfile.info(first).samplerate) != 48_000:
        data["sample_rate"] = rate
    name = "-".join(wet.relative_to(source).parts[-2 if wet.parent.parent != source else -1 :]).lower()
    settings = sorted(
        {p.name for part in PARTS for p in (wet / part).iterdir() if p.is_dir() and p.name[0] not in "._"}
    )
    if not settings:
        yield name, data
    elif len(settings) == 1:
        yield name, {**data, "setting": settings[0]}
    elif knobs := _common_knobs(dry, wet, settings):
        yield name, {**data, "controls": knobs}
    else:
        for setting in settings:
            yield f"{name}-{setting.lower()}", {**data, "setting": setting}


def _common_knobs(dry: Path, wet: Path, settings: list[str]) -> list[str | int]:
    """The numeric knobs that all settings name; none where they differ."""
    knobs: list[str | int] = [*numeric_knobs(settings[0])]
    try:
        PairedFolders(str(dry.resolve()), str(wet.resolve()), knobs, None)
    except DataError:
        return []
    return knobs
