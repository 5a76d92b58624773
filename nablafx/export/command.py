"""nablafx export: a model as a file for another runtime, written only when that runtime has shown to agree."""

from __future__ import annotations

import argparse
import datetime
import math
import re
from pathlib import Path

import torch
from torch import Tensor

from nablafx.analysis.loudness import loudest
from nablafx.errors import UserError, plain
from nablafx.export.arguments import RIFF, add_model, knobs_of, read_mono
from nablafx.export.formats import FORMATS, Check, ExportError, Request, load_format
from nablafx.export.model import GEAR_TYPES, TONE_TYPES, Facts, Model
from nablafx.export.reading import read_model
from nablafx.writing import replacing

_TEXTS = ("author", "license", "comment", "gear_make", "gear_model")


def run(words: list[str]) -> None:
    """Run `nablafx export WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    model = _with_facts(read_model(arguments.model, arguments.checkpoint), arguments)
    entry = FORMATS[arguments.format]
    path = Path(arguments.output) if arguments.output else Path(re.sub(r"[^\w.+-]", "-", model.name) + entry.suffix)
    if path.suffix != entry.suffix:
        raise UserError(f"{path}: a file of this format ends in {entry.suffix}")
    controls = knobs_of(model, arguments.controls)
    audio = read_audio(Path(arguments.audio or RIFF), model, arguments.seconds)
    checks = save(arguments.format, model, path, Request(controls, arguments.block_size, audio))
    _print(model, path, checks)


def save(name: str, model: Model, path: Path, request: Request) -> list[Check]:
    """Write the model in a format and check it; the file appears when all checks have passed.

    Raises:
        ExportError: the format cannot express the model, or what was written does not sound as it.
        UserError: the file cannot be written.
    """
    form = load_format(name)
    try:
        with replacing(path) as temporary:
            form.write(model, temporary, request)
            checks = form.check(model, temporary, request)
            for check in checks:
                _demand(check, model, name)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}; name another file with --output") from error
    return checks


def read_audio(path: Path, model: Model, seconds: float) -> Tensor:
    """The loudest `seconds` of the first channel of a file, (1, 1, T) at the model's rate.

    Raises:
        UserError: it cannot be read, or is too short or silent.
    """
    mono = read_mono(path, model.sample_rate, "--audio")
    length = round(seconds * model.sample_rate)
    start = loudest(torch.from_numpy(mono), length)
    audio = torch.from_numpy(mono[start : start + length].copy()).view(1, 1, -1)
    if audio.shape[-1] < length or not audio.any():
        raise UserError(f"{path} has no {seconds:g} s of audio to check the export with; name another one with --audio")
    return audio


def _demand(check: Check, model: Model, name: str) -> None:
    if not check.passed:
        raise ExportError(
            f"{model.name} as {name} does not sound as the model: {check.runtime} has an ESR of {check.esr:.1e} "
            f"(largest difference {check.difference:.1e}), and {check.limit:.0e} is allowed. Nothing was written; "
            "please report this with the model's config"
        )


def _print(model: Model, path: Path, checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("checked with", "audio", "largest difference", "ESR", "allowed")
    for check in checks:
        decibels = f" ({20 * math.log10(check.difference):.0f} dB)" if check.difference else ""
        row = f"{check.seconds:.1f} s", f"{check.difference:.1e}{decibels}", f"{check.esr:.1e}", f"{check.limit:.0e}"
        table.add_row(check.runtime, *row)
    console = Console()
    console.print(table)
    late = f", {model.latency} samples late" if model.latency else ", no latency"
    size = path.stat().st_size / 1000
    written = plain(f"Written {path} ({size:,.0f} kB; {model.sample_rate} Hz{late})")
    console.print(written, markup=False, highlight=False, soft_wrap=True)


def _with_facts(model: Model, arguments: argparse.Namespace) -> Model:
    told = {name: getattr(arguments, name) for name in (*_TEXTS, "gear_type", "tone_type")}
    told |= {name: getattr(arguments, name) for name in ("input_level_dbu", "output_level_dbu")}
    created = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = {**model.facts, "created": created, **{name: value for name, value in told.items() if value is not None}}
    return model._replace(facts=Facts(**facts), name=arguments.name or model.name)  # type: ignore[typeddict-item]


def _parser() -> argparse.ArgumentParser:
    formats = "\n".join(f"  {name:9} {entry.suffix:9} {entry.summary}" for name, entry in FORMATS.items())
    parser = argparse.ArgumentParser(
        prog="nablafx export",
        description="Write a model for another runtime, run it there on real audio, and keep it if both agree.\n\n"
        f"formats:\n{formats}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(parser)
    parser.add_argument("--format", choices=list(FORMATS), required=True)
    parser.add_argument("--output", metavar="FILE", help="default: the model's name, here")
    parser.add_argument("--block-size", type=_positive, metavar="N", help="samples a call (onnx, torch; default: any)")
    parser.add_argument("--audio", metavar="FILE", help="what it is checked with (default: a shipped guitar riff)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of it, the loudest (default: %(default)s)")
    about = parser.add_argument_group("what the file says of the model")
    about.add_argument("--name")
    for name in _TEXTS:
        about.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT")
    about.add_argument("--gear-type", choices=GEAR_TYPES)
    about.add_argument("--tone-type", choices=TONE_TYPES)
    for side in ("input", "output"):
        about.add_argument(f"--{side}-level-dbu", type=float, metavar="DBU", help=f"{side} level at full scale")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value
