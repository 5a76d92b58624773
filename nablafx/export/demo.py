"""nablafx demo: a page that runs a model in the browser, live and offline."""

from __future__ import annotations

import argparse
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp

from torch import Tensor

from nablafx.errors import UserError
from nablafx.export.arguments import RIFF, add_model, knobs_of
from nablafx.export.demo_page import CONTENTS, POLICY, read_riff, write_page
from nablafx.export.model import Model
from nablafx.export.reading import read_model
from nablafx.shipped import ROOT

QUANTUM = 128  # samples that a browser's audio thread runs at once
BLOCK = 512  # the worker is asked 94 times a second at 48 kHz
LARGEST = 2**16
PORT = 8000


def run(words: list[str]) -> None:
    """Run `nablafx demo WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    model = read_model(arguments.model, arguments.checkpoint)
    block_size = block_size_of(model, arguments.block_size)
    controls = _knobs(model, arguments.controls)
    place = Path(arguments.model)
    beside = place / "demo" if place.is_dir() else place.with_name(f"{place.stem}-demo")
    folder = Path(arguments.output) if arguments.output else beside
    riff = Path(arguments.riff) if arguments.riff else RIFF
    audio = read_riff(riff, model.sample_rate)
    terms = None if arguments.riff else ROOT / "demo" / "LICENSE.txt"
    with replacing_folder(folder) as temporary:
        write_page(temporary, model, controls, block_size, audio, riff.name.partition(".")[0], terms)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    print(f"Written {folder} ({size:.1f} MB, the runtime and all)", flush=True)
    if arguments.serve is None:
        print(f"Open it over HTTP, as by `python -m http.server --directory {folder}`, or give --serve")
    else:
        _serve(folder, arguments.serve)


def block_size_of(model: Model, given: int | None) -> int:
    """Samples that the page runs the model on at once: whole frames of the effect, whole quanta of the browser.

    Raises:
        UserError: the given number is not, or the effect cannot be run in blocks.
    """
    unit = math.lcm(QUANTUM, model.effect.frame_size)
    if unit > LARGEST:
        raise UserError(f"{model.name} takes a sequence as a whole (cold_start), and a page plays it in blocks")
    if given is None:
        return -(-BLOCK // unit) * unit
    if given % unit or not 0 < given <= LARGEST:
        raise UserError(
            f"--block-size is {given}; {model.name} in a browser needs a multiple of {unit} up to {LARGEST}"
        )
    return given


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block ends without an error.

    Raises:
        UserError: something else than a demo is there, or it cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and CONTENTS.issuperset(path.name for path in folder.iterdir())):
        raise UserError(
            f"{folder} holds something else than a demo, and is left as it is; name another folder with --output"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            made, old = scratch / "made", scratch / "old"
            made.mkdir()
            yield made
            if folder.exists():
                os.replace(folder, old)
            try:
                os.replace(made, folder)
            except OSError:
                if old.exists():
                    os.replace(old, folder)
                raise
        finally:
            shutil.rmtree(scratch)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error}; name another folder with --output") from error


class _Handler(SimpleHTTPRequestHandler):
    """Hands out the folder, with the types that browsers insist on."""

    extensions_map = {  # noqa: RUF012 - the base class has it so
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)  # a worker has only what comes with its file
        self.send_header("Cache-Control", "no-cache")  # the next model may have the same address
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Of the folder, for this machine alone: a page may use the microphone where its address is localhost.

    Raises:
        UserError: the port is taken.
    """
    try:
        return ThreadingHTTPServer(("localhost", port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot serve at port {port}: {error}; name another with --serve PORT") from error


def _serve(folder: Path, port: int) -> None:
    with server(folder, port) as serving:
        print(f"Open http://localhost:{serving.server_address[1]}/ (Ctrl-C ends it)", flush=True)
        with suppress(KeyboardInterrupt):
            serving.serve_forever()


def _knobs(model: Model, given: str | None) -> Tensor | None:
    """Where the knobs stand at first, in the hundredths that the page's have."""
    controls = knobs_of(model, given)
    return controls if controls is None else (100 * controls).round() / 100


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx demo",
        description="Write a folder with a page that runs a model in the browser: on a riff, a file or the microphone, "
        "with its knobs. Any static web server can hand it out; nothing else is fetched from anywhere.",
    )
    add_model(parser)
    parser.add_argument("--output", metavar="DIR", help="default: demo, in the run's folder or beside the file")
    parser.add_argument("--riff", metavar="FILE", help="of up to 10 s (default: a shipped guitar riff)")
    parser.add_argument(
        "--block-size", type=int, metavar="N", help=f"samples that are run at once (default: {BLOCK}, in whole frames)"
    )
    parser.add_argument(
        "--serve", type=int, nargs="?", const=PORT, metavar="PORT", help=f"hand it out at localhost (default: {PORT})"
    )
    return parser
