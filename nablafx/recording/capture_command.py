"""nablafx capture-signal: a wav file to play through a device and record."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from nablafx.data.errors import Report
from nablafx.data.files import SUFFIXES
from nablafx.errors import UserError
from nablafx.recording.files import one_channel, whole_file
from nablafx.recording.signal import SHORTEST_S, capture_signal

_SUBTYPES = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}


def run(words: list[str]) -> None:
    """Run `nablafx capture-signal WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    import soundfile

    asked = _parser().parse_args(words)
    if asked.output.suffix.lower() not in SUFFIXES:
        raise UserError(f"{asked.output}: give a name that ends in .wav or .flac")
    if asked.output.suffix.lower() == ".flac" and asked.bits == 32:
        raise UserError(f"{asked.output}: flac holds no 32-bit float: give --bits 24, or a .wav")
    if asked.output.exists() and not asked.overwrite:
        raise UserError(f"{asked.output} is there already: say --overwrite, or give another name")
    if not 8_000 <= asked.rate <= 192_000:
        raise UserError(f"--rate {asked.rate}: needs 8000 to 192000 Hz")
    programme = _programme(asked.programme, asked.rate) if asked.programme else None
    try:
        audio = capture_signal(asked.rate, asked.seconds, asked.level_db, programme, asked.seed)
    except ValueError as error:
        raise UserError(f"--{error}" if not str(error).startswith("the ") else f"{asked.programme}: {error}") from error
    with whole_file(asked.output) as temporary:
        soundfile.write(temporary, audio, asked.rate, subtype=_SUBTYPES[asked.bits])
    _tell(asked, audio)


def _tell(asked: argparse.Namespace, audio: np.ndarray) -> None:
    peak_db = 20 * np.log10(np.abs(audio).max())
    print(f"Written {asked.output}: {len(audio) / asked.rate:.1f} s, {asked.rate} Hz, peak {peak_db:.1f} dBFS")
    print("Play it through the device from its first to its last sample, and record what comes out, without clipping.")
    print(f"Then: nablafx import-capture {asked.output} RECORDING.wav --out recordings --device NAME")


def _programme(folder: Path, rate: int) -> np.ndarray:
    """All audio of a folder, in the order of its names, mono, at `rate`."""
    import soxr

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not paths:
        raise UserError(f"--programme {folder}: holds no .wav or .flac files: give a folder with dry recordings")
    report, pieces = Report(), []
    for path in paths:
        found = one_channel(path, 0, report)
        if found:
            pieces.append(soxr.resample(found.audio, found.rate, rate, quality="VHQ"))
    report.settle()
    return np.concatenate(pieces)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx capture-signal",
        description="Write a signal to play through a device: markers, silence, sweeps, steps and noise, programme "
        "that trains, and programme that tests. The same options give the same samples.",
    )
    parser.add_argument("output", type=Path, help="the .wav or .flac file to write")
    parser.add_argument("--rate", type=int, default=48_000, help="Hz (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=180.0, help=f"its length, {SHORTEST_S:g} or more (default: %(default)g)"
    )
    parser.add_argument("--bits", type=int, choices=sorted(_SUBTYPES), default=24, help="32: float (default: 24)")
    parser.add_argument("--level_db", type=float, default=-3.0, help="peak in dBFS (default: %(default)g)")
    parser.add_argument(
        "--programme", type=Path, metavar="DIR", help="dry recordings to play in place of plucked strings"
    )
    parser.add_argument("--seed", type=int, default=0, help="of notes and noise (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser
