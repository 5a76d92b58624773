"""What must be right about the recordings, found before training and told together, file by file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile
from lightning.pytorch.utilities import rank_zero_only

from nablafx.data.alignment import Alignment, align
from nablafx.data.audio import blocks, choose_channel, header, read
from nablafx.data.errors import Report
from nablafx.data.files import Pair

_SILENCE = 10 ** (-90 / 20)
_FULL_SCALE = 0.999
_CLIPPED_RUN = 4  # consecutive samples at full scale: fewer is a peak, not clipping
_EXCERPT_S = 10  # of the loudest audio, for the alignment
_PROGRESS_FROM = 20  # files; fewer are checked before a bar would be read

T = TypeVar("T")


def progress(items: Sequence[T], description: str) -> Iterable[T]:
    """The items, with a progress bar where there are many, someone watches, and this is the first process."""
    if len(items) <= _PROGRESS_FROM or not sys.stderr.isatty() or not is_first_process():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description, console=Console(stderr=True), transient=True)


def is_first_process() -> bool:
    """Whether this is the process that tells; in distributed runs the others would repeat it."""
    return getattr(rank_zero_only, "rank", 0) == 0  # lightning sets the attribute when a run is distributed


class Scan(NamedTuple):
    """What one pass over a channel of a file found. Positions are in samples at the file's own rate."""

    rate: int
    channel: int
    frames: int
    peak: float
    bad: int
    first_bad: int
    clipped: int
    loudest: int


def check_pairs(pairs: Sequence[Pair], channel: str | int | None, report: Report, scans: dict[Path, Scan]) -> None:
    """Check every file of the pairs once, then every pair: rates, lengths, polarity and delay.

    scans holds what is known of usable files, and is added to.
    """
    paths = dict.fromkeys(path for pair in pairs for path in (pair.dry, pair.wet) if path)
    for path in progress([path for path in paths if path not in scans], "Checking audio"):
        scan = check_file(path, channel, report)
        if scan:
            scans[path] = scan
    for pair in progress(pairs, "Checking pairs"):
        if pair.dry in scans and pair.wet in scans:
            _check_pair(pair.dry, pair.wet, scans[pair.dry], scans[pair.wet], report)


def check_file(path: Path, channel: str | int | None, report: Report) -> Scan | None:
    """Read a file through and report what is wrong with it; None if it cannot be used."""
    try:
        info = header(path)
        index = choose_channel(info.channels, channel)
        scan = _scan(path, index, info.samplerate)
    except soundfile.SoundFileError as error:
        report.problem(path, f"cannot be read ({error}): copy it again, or export it again as wav or flac")
        return None
    except ValueError as error:
        report.problem(path, str(error))
        return None
    if not scan.frames:
        report.problem(path, "holds no samples: export it again, or remove the pair")
    elif scan.bad:
        at = scan.first_bad / scan.rate
        report.problem(path, f"has {scan.bad} NaN or Inf samples, the first at {at:.3f} s: export it again")
    elif scan.peak < _SILENCE:
        level = f"{20 * np.log10(scan.peak):.0f} dBFS" if scan.peak else "all zero"
        report.problem(path, f"is silent (peak {level}, at least -90 dBFS is needed): record it again, or remove it")
    else:
        if scan.clipped:
            report.note(path, f"clips: {scan.clipped} runs of {_CLIPPED_RUN} or more samples at full scale")
        return scan
    return None


def _check_pair(dry_path: Path, wet_path: Path, dry: Scan, wet: Scan, report: Report) -> None:
    if dry.rate != wet.rate:
        report.problem(
            wet_path,
            f"is at {wet.rate} Hz, its dry file {dry_path.name} at {dry.rate} Hz: export both at one rate",
        )
    elif dry.frames != wet.frames:
        more = "more" if wet.frames > dry.frames else "fewer"
        report.problem(
            wet_path,
            f"has {wet.frames} samples, {abs(wet.frames - dry.frames)} {more} than its dry file "
            f"{dry_path.name} with {dry.frames}: cut or pad both to one length, starting together",
        )
    else:
        stop = min(dry.loudest + _EXCERPT_S * dry.rate, dry.frames)
        x = read(dry_path, dry.channel, dry.loudest, stop)
        y = read(wet_path, wet.channel, dry.loudest, stop)
        for line in _alignment_notes(align(x, y, dry.rate), dry.rate):
            report.note(wet_path, line)


def _alignment_notes(found: Alignment, rate: int) -> Iterator[str]:
    if found.inverted:
        yield (
            f"looks inverted against its dry file (correlation {found.correlation:+.2f}); "
            "some devices do invert: nothing to do if this one does"
        )
    if found.delay:
        samples, milliseconds = abs(found.delay), 1000 * abs(found.delay) / rate
        way = "late against" if found.delay > 0 else "ahead of"
        cure = "compensate the latency" if found.delay > 0 else "shift it back, since no causal model runs ahead"
        line = f"looks {samples} samples ({milliseconds:.1f} ms) {way} its dry file"
        yield f"{line}: {cure}, unless the device does this"


def _scan(path: Path, channel: int, rate: int) -> Scan:
    frames = bad = clipped = 0
    first_bad = -1
    peak = 0.0
    energy: list[float] = []
    tail = np.zeros(_CLIPPED_RUN, dtype=bool)
    for block in blocks(path, channel, rate):
        finite = np.isfinite(block)
        if not finite.all():
            first_bad = frames + int(np.argmin(finite)) if first_bad < 0 else first_bad
            bad += int(np.count_nonzero(~finite))
            block = np.where(finite, block, 0)
        peak = max(peak, float(np.abs(block).max(initial=0)))
        energy.append(float(np.dot(block, block)))
        full = np.concatenate([tail, np.abs(block) >= _FULL_SCALE])
        clipped += _run_count(full)
        tail = full[-_CLIPPED_RUN:]
        frames += len(block)
    return Scan(rate, channel, frames, peak, bad, first_bad, clipped, _loudest(energy) * rate)


def _run_count(full: np.ndarray) -> int:
    """Runs that become long enough to count, after the first _CLIPPED_RUN entries: those are the past."""
    windows = np.lib.stride_tricks.sliding_window_view(full, _CLIPPED_RUN + 1)
    return int(np.count_nonzero(windows[:, 1:].all(axis=1) & ~windows[:, 0]))


def _loudest(energy: list[float]) -> int:
    """Index of the second at which the loudest excerpt starts."""
    if len(energy) <= _EXCERPT_S:
        return 0
    return int(np.convolve(energy, np.ones(_EXCERPT_S), mode="valid").argmax())
