"""nablafx check-data: what recordings are like, before anything is trained on them."""

from __future__ import annotations

import argparse
from pathlib import Path

from nablafx.data.checks import check_pairs
from nablafx.data.errors import Report
from nablafx.data.inspection.cache import Cache
from nablafx.data.inspection.inspect import Inspection
from nablafx.data.progress import progress, progress_of_bytes
from nablafx.errors import UserError
from nablafx.recording.figures import as_csv, as_json, as_table, rows
from nablafx.recording.files import channel_of
from nablafx.recording.fixing import check_target, write_fixed
from nablafx.recording.gathering import Gathered, from_configs, from_folder, from_places
from nablafx.recording.pictures import write_picture
from nablafx.writing import replacing


def run(words: list[str]) -> None:
    """Run `nablafx check-data WORDS`.

    Raises:
        UserError: the recordings have problems that stop a training, or what the user can mend.
    """
    arguments = _parser().parse_args(words)
    report = Report()
    gathered = _gathered(arguments, report)
    if arguments.fix:
        check_target(arguments.fix, gathered)
    found = check_pairs(gathered.pairs, gathered.channel, report, Cache(gathered.place))
    _show(gathered, found, report)
    _write(arguments.out, gathered, found, report)
    if arguments.fix:
        _fix(arguments, gathered, found, report)
    if report.problems:
        count = len(report.problems)
        raise UserError(f"{count} {'place has' if count == 1 else 'places have'} problems that would stop a training")


def _gathered(arguments: argparse.Namespace, report: Report) -> Gathered:
    given = [bool(arguments.config), bool(arguments.dry or arguments.wet), bool(arguments.folder)]
    if sum(given) != 1 or bool(arguments.dry) != bool(arguments.wet):
        raise UserError("give a config (-c pedal.yaml), or --dry and --wet, or a folder of audio files")
    if arguments.fix and arguments.folder:
        raise UserError("--fix aligns wet files with dry ones; give --dry and --wet, or a config, for it")
    if arguments.config and arguments.channel is not None:
        raise UserError("--channel stands in the config (data: {channel: left}); leave it away here")
    if arguments.config:
        return from_configs(arguments.config, report)
    if arguments.folder:
        return from_folder(arguments.folder, arguments.channel)
    return from_places(arguments.dry, arguments.wet, arguments.channel, report)


def _show(gathered: Gathered, found: Inspection, report: Report) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(as_table(gathered.pairs, found, report), highlight=False)
    for kind, style, lines in (("problem", "bold red", report.problems), ("look", "yellow", report.notes)):
        for where in sorted(lines):
            console.print(f"\n[{style}]{kind}[/{style}] ", end="")
            console.print(where, markup=False, highlight=False, soft_wrap=True)
            for line in lines[where]:
                console.print(f"  - {line}", markup=False, highlight=False, soft_wrap=True)
    if any(pair.memory_ms is None for pair in found.pairs.values()):
        console.print("\nA tail shows where dry falls silent after sound, and some pairs have no such place.")


def _write(folder: Path, gathered: Gathered, found: Inspection, report: Report) -> None:
    """The figures, and a picture for each file that something is said of."""
    told = report.problems.keys() | report.notes.keys()
    listed = [(path, pair, depth) for path, pair, depth in rows(gathered.pairs) if str(path) in told]
    try:
        for name, text in (("figures.csv", as_csv), ("figures.json", as_json)):
            with replacing(folder / name) as temporary:
                temporary.write_text(text(gathered.pairs, found, report))
        print(f"\nWritten {folder / 'figures.csv'} and figures.json")
        drawn = []
        for path, pair, depth in progress(listed, "Drawing"):
            title = _title(path, gathered.wet_root if depth else gathered.dry_root)
            target = folder / f"{title.replace('/', '-')}.png"
            if write_picture(target, title, pair, found, path):
                drawn.append(target)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error}; name another folder with --out") from error
    if drawn:
        print(f"Written {drawn[0]}" + (f" and {len(drawn) - 1} more pictures" if drawn[1:] else ""))


def _title(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else Path(path.name)).as_posix()


def _fix(arguments: argparse.Namespace, gathered: Gathered, found: Inspection, report: Report) -> None:
    paths = [path for path, _, _ in rows(gathered.pairs)]
    with progress_of_bytes(paths, "Writing copies") as told:
        written = write_fixed(arguments.fix, gathered, found, arguments.fix_polarity, told)
    print(f"Written {len(written)} files below {arguments.fix}:")
    for path, done in written:
        print(f"  {path}: {done or 'as it was'}")
    left_out = len(paths) - len(written)
    if left_out:
        print(f"{left_out} files with problems are left out.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx check-data",
        description="Look at recordings before training: levels, noise, offset, clipping and hum of every file; delay, "
        "polarity, drift, noise between repeats and memory of every pair. Writes the figures, and a picture of each "
        "file that looks faulty. The status is 1 where there are problems that would stop a training.",
    )
    parser.add_argument("folder", nargs="?", type=Path, help="of audio files, each looked at by itself")
    parser.add_argument("-c", "--config", action="append", metavar="FILE", help="with a section data; may be repeated")
    parser.add_argument("--dry", type=Path, help="file, or folder: of the layout or of any files")
    parser.add_argument("--wet", type=Path, help="likewise, with files of the same names")
    parser.add_argument("--channel", type=channel_of, help="of files with several: left, right or a number")
    parser.add_argument(
        "--out", type=Path, default=Path("check-data"), metavar="DIR", help="of the figures (default: %(default)s)"
    )
    parser.add_argument(
        "--fix", type=Path, metavar="DIR", help="write aligned copies of one length there; originals stay as they are"
    )
    parser.add_argument("--fix-polarity", action="store_true", help="turn inverted wet files over in the copies")
    return parser
