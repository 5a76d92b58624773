"""What must be right about the recordings, found before training and told together, file by file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nablafx.data.errors import Report
from nablafx.data.files import Pair
from nablafx.data.inspection.cache import Cache
from nablafx.data.inspection.clipping import RUN
from nablafx.data.inspection.facts import LEAST_PEAK_DB, FileFacts, PairFacts, decibels
from nablafx.data.inspection.inspect import Inspection, inspect
from nablafx.data.progress import progress_of_bytes

# Set on recordings of fuzz, overdrive, preamp and compressor without faults: at most 3.5 samples late at 48 kHz by
# their delay, none ahead by 0.1, no offset in their pauses, no run at a flat top, no echo and no tail.
_LATE_S = 5 / 48_000
_AHEAD_S = 0.75 / 48_000
_MARKED = 0.5  # samples: what impulses tell is as good
_FLAT_RUNS = 5
_OFFSET = 0.005
_UNLIKE_ITSELF = 0.003  # ESR of a repeated passage
_REMEMBERS_MS = 60.0


def check_pairs(pairs: Sequence[Pair], channel: str | int | None, report: Report, cache: Cache) -> Inspection:
    """Measure every file of the pairs, then every pair, and report what is wrong: problems, and what may be meant."""
    couples = [(pair.dry, pair.wet) for pair in pairs]
    paths = list(dict.fromkeys(path for couple in couples for path in couple if path))
    with progress_of_bytes(paths, "Checking audio") as told:
        found = inspect(couples, channel, cache, told)
    for path, facts in found.files.items():
        check_file(path, facts, report)
    for dry, wet in couples:
        if wet:
            _check_pair(dry, wet, found, report)
    return found


def check_file(path: Path, facts: FileFacts | str, report: Report) -> None:
    """Report what is wrong with a file; facts say why it cannot be read, if it cannot."""
    if isinstance(facts, str):
        report.problem(path, facts)
    elif not facts.frames:
        report.problem(path, "holds no samples: export it again, or remove the pair")
    elif facts.bad:
        at = facts.first_bad / facts.rate
        report.problem(path, f"has {facts.bad} NaN or Inf samples, the first at {at:.3f} s: export it again")
    elif not facts.usable:
        level = f"{decibels(facts.peak):.0f} dBFS" if facts.peak else "all zero"
        needed = f"at least {LEAST_PEAK_DB:.0f} dBFS is needed"
        report.problem(path, f"is silent (peak {level}, {needed}): record it again, or remove it")
    else:
        for line in file_notes(facts):
            report.note(path, line)


def file_notes(facts: FileFacts) -> Iterator[str]:
    """What may be meant of a usable file."""
    if facts.clipped:
        yield f"clips: {facts.clipped} runs of {RUN} or more samples at full scale"
    if facts.flat_tops >= _FLAT_RUNS:
        yield (
            f"looks clipped below full scale: {facts.flat_tops} runs of {RUN} or more samples stand still at "
            f"{facts.flat_peak:+.3f} ({decibels(abs(facts.flat_peak)):.1f} dBFS): record with less gain, unless the "
            "device does this"
        )
    if facts.dc is not None and abs(facts.dc) >= _OFFSET:
        yield f"has a DC offset of {facts.dc:+.4f} in its pauses: mend the interface, or take the offset off"
    if facts.hum_hz:
        yield f"hums at multiples of {facts.hum_hz} Hz ({facts.hum_db:.0f} dBFS) all the time: look for a ground loop"


def pair_notes(pair: PairFacts, rate: int) -> Iterator[str]:
    """What may be meant of a wet file against its dry one."""
    if pair.inverted:
        yield (
            f"looks inverted against its dry file (correlation {pair.correlation:+.2f}); "
            "some devices do invert: nothing to do if this one does"
        )
    if is_delayed(pair, rate) and not pair.drifts:
        yield _delay_line(pair.delay or 0.0, rate)
    if pair.drifts and pair.drift_ppm is not None:
        faster = "slower" if pair.drift_ppm > 0 else "faster"
        yield (
            f"drifts against its dry file: its clock ran {abs(pair.drift_ppm):.0f} ppm {faster}, from "
            f"{pair.delay or 0:+.1f} samples at the start on; record both ways with one interface, or resample it "
            "(nablafx check-data --fix)"
        )
    if pair.repeat and pair.repeat_esr is not None and pair.repeat_esr > _UNLIKE_ITSELF:
        first, second = (place / rate for place in pair.repeat[:2])
        yield (
            f"differs from itself where its dry file repeats (at {first:.2f} s and {second:.2f} s, ESR "
            f"{pair.repeat_esr:.2g}): noise, or a device that changes with time; no model gets below that"
        )
    if pair.memory_ms is not None and pair.memory_ms >= _REMEMBERS_MS:
        yield _memory_line(pair)


def is_delayed(pair: PairFacts, rate: int) -> bool:
    """Whether wet is late, or ahead, by more than a device's filters make it seem."""
    if pair.delay is None:
        return False
    if pair.by_markers:
        return abs(pair.delay) >= _MARKED
    return pair.delay >= _LATE_S * rate or pair.delay <= -_AHEAD_S * rate


def _delay_line(delay: float, rate: int) -> str:
    way = "late against" if delay > 0 else "ahead of"
    cure = "compensate the latency" if delay > 0 else "shift it back, since no causal model runs ahead"
    line = f"looks {abs(delay):.1f} samples ({1000 * abs(delay) / rate:.2f} ms) {way} its dry file"
    return f"{line}: {cure} (nablafx check-data --fix), unless the device does this"


def _memory_line(pair: PairFacts) -> str:
    told = []
    if pair.echo_ms is not None:
        told.append(f"an echo comes {pair.echo_ms:.0f} ms later")
    if pair.decay_ms is not None and pair.decay_ms >= _REMEMBERS_MS:
        least = "at least " if pair.decay_open else ""
        told.append(f"it sounds on for {least}{pair.decay_ms:.0f} ms where its dry file stops")
    return f"has a long memory: {', and '.join(told)}; a delay or reverb needs a model that hears as far back"


def _check_pair(dry_path: Path, wet_path: Path, found: Inspection, report: Report) -> None:
    dry, wet = found.files[dry_path], found.files[wet_path]
    if isinstance(dry, str) or isinstance(wet, str) or not dry.usable or not wet.usable:
        return
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
            f"{dry_path.name} with {dry.frames}: cut or pad both to one length, starting together "
            "(nablafx check-data --fix)",
        )
    else:
        for line in pair_notes(found.pairs[dry_path, wet_path], dry.rate):
            report.note(wet_path, line)
