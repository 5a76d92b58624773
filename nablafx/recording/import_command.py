"""nablafx import-capture: recorded returns of a signal, as a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nablafx.data.errors import Report
from nablafx.errors import UserError
from nablafx.recording.aligning import Placing, aligned, place
from nablafx.recording.files import Recording, channel_of, exact_subtype, one_channel
from nablafx.recording.layout import Layout, read_layout
from nablafx.recording.writing import Writer, audio_writer, check_setting, read_config, write_config, write_files

_ROWS = ("recording", "setting", "found by", "delay", "drift", "polarity", "level", "noise floor", "clipping")


class Capture(NamedTuple):
    """A return that fits: its file, its setting ("" for a device without), its samples and where they lie."""

    path: Path
    setting: str
    audio: np.ndarray
    placing: Placing


def run(words: list[str]) -> None:
    """Run `nablafx import-capture WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    asked = _parser().parse_args(words)
    settings = _settings(asked)
    if not asked.device or Path(asked.device).name != asked.device or asked.device in (".", "..", "DRY"):
        raise UserError(f"--device {asked.device}: give a name for a folder beside DRY")
    report = Report()
    dry = one_channel(asked.dry, asked.channel, report)
    report.settle()
    assert dry
    layout = read_layout(dry.audio, dry.rate, asked.test_seconds)
    if {stretch.part for stretch in layout.stretches} != {"trainval", "test"}:
        raise UserError(
            f"{asked.dry}: {len(dry.audio) / dry.rate:.1f} s leave nothing to train on and to test on: "
            "give a longer signal, or other --test_seconds"
        )
    captures = _captures(asked, settings, dry, layout, report)
    report.settle()
    files = _dry_files(asked.dry.stem, dry, layout)
    for capture in captures:
        files |= _wet_files(asked.dry.stem, asked.device, capture, dry.rate, layout)
    wet = asked.out / asked.device
    read_config(asked.out, wet, asked.overwrite)  # before anything is written
    written = write_files(asked.out, files, asked.overwrite)
    title = f"{asked.device}, from {asked.dry.name}"
    config = write_config(asked.out, asked.out / "DRY", wet, dry.rate, title, asked.overwrite)
    _show(captures, dry, layout)
    same = f"; {len(files) - len(written)} were there as they are" if len(written) < len(files) else ""
    print(f"Written {len(written)} files and {config}{same}")
    model = "model/lstm/32.yaml -c model/with/fixed.yaml" if "controls" in config.read_text() else "model/lstm/32.yaml"
    print(f"Then: nablafx fit -c {config} -c {model} -c trainer/tbptt.yaml")


def _settings(asked: argparse.Namespace) -> list[str]:
    given = asked.setting or []
    if not given and len(asked.wet) == 1:
        return [""]
    if len(given) != len(asked.wet):
        raise UserError(
            f"{len(asked.wet)} recordings, and {len(given)} settings: give --setting a name such as D050_T020 for "
            "each, in their order"
        )
    if len(set(given)) < len(given):
        raise UserError(f"--setting {' '.join(given)}: a name comes twice; each recording needs its own")
    return [check_setting(setting) for setting in given]


def _captures(
    asked: argparse.Namespace, settings: list[str], dry: Recording, layout: Layout, report: Report
) -> list[Capture]:
    captures = []
    for path, setting in zip(asked.wet, settings, strict=True):
        wet = one_channel(path, asked.channel, report)
        if wet is None:
            continue
        audio = wet.audio
        if wet.rate != dry.rate:
            import soxr

            audio = soxr.resample(audio, wet.rate, dry.rate, quality="VHQ")
            report.note(path, f"is at {wet.rate} Hz and the signal at {dry.rate} Hz: it is resampled")
        try:
            placing = place(dry.audio, audio, dry.rate, layout)
        except ValueError as error:
            report.problem(path, str(error))
            continue
        if placing.clipped:
            report.note(
                path, f"clips: {placing.clipped} runs at full scale; record it again with less gain at the input"
            )
        if len(layout.pulses) and placing.by == "correlation":
            line = (
                "its markers are not clear, so the delay is coarse and drift stays: record it louder, above the noise"
            )
            report.note(path, line)
        captures.append(Capture(path, setting, audio, placing))
    return captures


def _dry_files(stem: str, dry: Recording, layout: Layout) -> dict[str, Writer]:
    subtype = exact_subtype(dry)
    return {
        f"DRY/{s.part}/{stem}-{number}.input.wav": audio_writer(dry.audio[s.start : s.stop], dry.rate, subtype)
        for number, s in enumerate(layout.stretches, 1)
    }


def _wet_files(stem: str, device: str, capture: Capture, rate: int, layout: Layout) -> dict[str, Writer]:
    files = {}
    for number, s in enumerate(layout.stretches, 1):
        name = f"{stem}-{number}.target.wav"
        place = f"{s.part}/{capture.setting}/{capture.setting}.{name}" if capture.setting else f"{s.part}/{name}"
        audio = aligned(capture.audio, capture.placing, s.start, s.stop)
        files[f"{device}/{place}"] = audio_writer(audio, rate, "FLOAT")
    return files


def _show(captures: list[Capture], dry: Recording, layout: Layout) -> None:
    from rich.console import Console
    from rich.table import Table

    seconds = {
        part: sum(s.stop - s.start for s in layout.stretches if s.part == part) / dry.rate
        for part in ("trainval", "test")
    }
    title = f"{seconds['trainval']:.1f} s to train and validate, {seconds['test']:.1f} s to test, {dry.rate} Hz"
    print(title)
    table = Table(show_header=False)
    columns = [[capture.path.name, capture.setting or "-", *_cells(capture.placing, dry.rate)] for capture in captures]
    for name, *cells in zip(_ROWS, *columns, strict=True):
        table.add_row(name, *cells, end_section=name == "setting")
    Console().print(table)


def _cells(placing: Placing, rate: int) -> list[str]:
    delay = f"{placing.delay_samples:.2f} samples ({1000 * placing.delay_samples / rate:.2f} ms)"
    polarity = {None: "not clear", True: "inverted", False: "same"}[placing.inverted]
    noise = "-" if placing.noise_db is None else f"{placing.noise_db:.1f} dBFS"
    level = f"{placing.level_db:.1f} dBFS RMS, peak {placing.peak_db:.1f} dBFS"
    clipped = f"{placing.clipped} runs at full scale" if placing.clipped else "none"
    return [placing.by, delay, f"{placing.drift_ppm:+.2f} ppm", polarity, level, noise, clipped]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx import-capture",
        description="Cut recordings of a signal into a data set: delay and drift of the interface removed, markers "
        "left out, the last stretch between markers as the test. The recordings stay as they are.",
    )
    parser.add_argument("dry", type=Path, help="the signal that was played")
    parser.add_argument("wet", type=Path, nargs="+", help="what was recorded, a file for each setting of the knobs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set; may be there")
    parser.add_argument("--device", default="DEVICE", help="its name in the data set (default: %(default)s)")
    parser.add_argument("--setting", nargs="+", metavar="D050_T020", help="the knobs of each recording, in percent")
    parser.add_argument("--channel", type=channel_of, help="of files with several: left, right or a number from 0")
    parser.add_argument(
        "--test_seconds", type=float, help="test on the end of a signal whose markers do not say what its test is"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there with other content")
    return parser
