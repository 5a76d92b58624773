"""SignalTrain LA-2A (zenodo.org/record/3824876), as it was downloaded: an optical compressor at many settings.

Folders Train, Val and Test hold input_<id>_.wav and target_<id>_LA2A_<n>c__<switch>__<peak reduction>.wav: a switch, 0
to compress and 1 to limit, and 0 to 100. Each target has an input of its own.
"""

from __future__ import annotations

import os
import re
import shutil
from functools import partial
from pathlib import Path

import soundfile

from nablafx.data.errors import Report
from nablafx.errors import UserError
from nablafx.recording.writing import Writer, read_config, write_config, write_files

_PARTS = {"Train": "trainval", "Val": "trainval", "Test": "test"}
_TARGET = re.compile(r"target_(\d+)_LA2A_\d+c__([01])__(\d{1,3})\.wav")
_DEVICE = "LA2A"


def import_signaltrain(source: Path, out: Path, overwrite: bool) -> str:
    """Link the files into the layout of data sets: knobs L (limit) and P (peak reduction); returns what was done.

    Raises UserError for folders that are not there, names that cannot be read, and targets without an input.
    """
    root = next((p for p in (source, *sorted(source.glob("SignalTrain*"))) if (p / "Train").is_dir()), None)
    if root is None:
        raise UserError(f"{source} holds no folder Train: give the folder that was unpacked, with Train, Val and Test")
    report, files = Report(), dict[str, Writer]()
    counts = dict.fromkeys(_PARTS, 0)
    for part, kind in _PARTS.items():
        for target in sorted((root / part).glob("target_*.wav")):
            found = _TARGET.fullmatch(target.name)
            dry = target.with_name(f"input_{found[1]}_.wav") if found else None
            if not found or int(found[3]) > 100:
                report.problem(
                    target, "has a name that tells no switch and peak reduction (target_138_LA2A_3c__0__5.wav)"
                )
            elif dry is None or not dry.is_file():
                report.problem(target, f"has no {dry.name if dry else 'input'} beside it: unpack the archive again")
            else:
                setting = f"L{100 * int(found[2]):03d}_P{int(found[3]):03d}"
                files[f"DRY/{kind}/{found[1]}.input.wav"] = partial(_link, dry)
                files[f"{_DEVICE}/{kind}/{setting}/{setting}.{found[1]}.target.wav"] = partial(_link, target)
                counts[part] += 1
    report.settle()
    if not counts["Train"]:
        raise UserError(f"{root / 'Train'} holds no target_*.wav: unpack the archive again")
    first = next(root.glob("Train/target_*.wav"))
    read_config(out, out / _DEVICE, overwrite)  # before anything is written
    write_files(out, files, overwrite)
    title = "Teletronix LA-2A, compressor (SignalTrain)"
    config = write_config(out, out / "DRY", out / _DEVICE, soundfile.info(first).samplerate, title, overwrite)
    pairs = ", ".join(f"{count} of {part}" for part, count in counts.items())
    return f"Linked {pairs}; Train and Val are trainval, of which the data module holds out the end.\nWritten {config}"


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where one cannot be: on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
