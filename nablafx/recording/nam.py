"""A capture pair of neural-amp-modeler: input.wav as it is given out, and what was recorded of it.

Its versions are known by their two pulses and end in validation audio (see layout.read_layout); any other pair of one
dry and one wet file is taken as well.
"""

from __future__ import annotations

from pathlib import Path

from nablafx.data.files import SUFFIXES
from nablafx.errors import UserError
from nablafx.recording.import_command import run as import_capture

_DRY = ("input", "dry", "di")


def import_nam(source: Path, out: Path, overwrite: bool) -> str:
    """Align and cut the pair in a folder; returns what was done.

    Raises UserError where the folder has no dry file, or another number of wet files than one.
    """
    paths = sorted(p for p in source.glob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    dry = [p for p in paths if p.stem.lower().startswith(_DRY) or "_in" in p.stem.lower()]
    wet = [p for p in paths if p not in dry]
    if len(dry) != 1 or len(wet) != 1:
        raise UserError(
            f"{source} holds {len(dry)} dry files (named input or dry) and {len(wet)} others: needs one of each; "
            "for several recordings of one signal use nablafx import-capture"
        )
    words = [str(dry[0]), str(wet[0]), "--out", str(out), "--device", "NAM"]
    import_capture([*words, *(["--overwrite"] if overwrite else [])])
    return f"{dry[0].name} is the signal, {wet[0].name} the recording"
