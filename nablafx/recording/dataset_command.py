"""nablafx import-dataset: public data sets, as they were downloaded, in the layout of this package."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nablafx.errors import UserError
from nablafx.recording.nam import import_nam
from nablafx.recording.signaltrain import import_signaltrain
from nablafx.recording.tonetwist import import_tonetwist


class Source(NamedTuple):
    """What a layout is, and what imports (source, out, overwrite) and tells what it did."""

    summary: str
    run: Callable[[Path, Path, bool], str]


LAYOUTS = {
    "signaltrain": Source("SignalTrain LA-2A: Train, Val and Test with input and target files", import_signaltrain),
    "nam": Source("a pair of neural-amp-modeler, input.wav and the recording of it", import_nam),
    "tonetwist": Source(
        "ToneTwist AFx, unpacked: configs for the devices, the audio stays where it is", import_tonetwist
    ),
}


def run(words: list[str]) -> None:
    """Run `nablafx import-dataset WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    asked = _parser().parse_args(words)
    if not asked.source.is_dir():
        raise UserError(f"{asked.source}: no such folder: give where the data set was unpacked")
    print(LAYOUTS[asked.layout].run(asked.source, asked.out, asked.overwrite))


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, LAYOUTS))
    parser = argparse.ArgumentParser(
        prog="nablafx import-dataset",
        description="Take over a public data set as it was downloaded.\n\n"
        + "\n".join(f"  {name:{width}}  {layout.summary}" for name, layout in LAYOUTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("layout", choices=list(LAYOUTS))
    parser.add_argument("source", type=Path, help="folder where it was unpacked")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set or configs")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there with other content")
    return parser
