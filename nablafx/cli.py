"""The command line: a table of commands, each of which imports what it needs only when it is called.

The first screen must not wait for torch: this file imports nothing heavy.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import NamedTuple

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class Command(NamedTuple):
    """What a command says of itself, and the function that runs it with the words after its name."""

    summary: str
    run: Callable[[str, list[str]], None]


def _lightning(name: str, words: list[str]) -> None:
    from nablafx.training.command import run

    run(name, words)


def _plot(_name: str, words: list[str]) -> None:
    from nablafx.training.plot import run

    run(words)


def _process(_name: str, words: list[str]) -> None:
    from nablafx.export.process import run

    run(words)


def _export(_name: str, words: list[str]) -> None:
    from nablafx.export.command import run

    run(words)


def _demo(_name: str, words: list[str]) -> None:
    from nablafx.export.demo import run

    run(words)


def _benchmark(_name: str, words: list[str]) -> None:
    from nablafx.export.benchmark import run

    run(words)


def _pretrain(_name: str, words: list[str]) -> None:
    from nablafx.training.pretrain import run

    run(words)


def _sweep(_name: str, words: list[str]) -> None:
    from nablafx.sweep.command import run

    run(words)


def _compare(_name: str, words: list[str]) -> None:
    from nablafx.report.compare_command import run

    run(words)


def _report(_name: str, words: list[str]) -> None:
    from nablafx.report.report_command import run

    run(words)


def _check_data(_name: str, words: list[str]) -> None:
    from nablafx.recording.check_command import run

    run(words)


def _capture_signal(_name: str, words: list[str]) -> None:
    from nablafx.recording.capture_command import run

    run(words)


def _import_capture(_name: str, words: list[str]) -> None:
    from nablafx.recording.import_command import run

    run(words)


def _import_dataset(_name: str, words: list[str]) -> None:
    from nablafx.recording.dataset_command import run

    run(words)


def _configs(_name: str, words: list[str]) -> None:
    from nablafx.shipped import run_configs

    run_configs(words)


def _demo_data(_name: str, words: list[str]) -> None:
    from nablafx.shipped import run_demo_data

    run_demo_data(words)


def _convert(_name: str, words: list[str]) -> None:
    from nablafx.convert.command import run

    run(words)


COMMANDS = {
    "fit": Command("train a model on a data set", _lightning),
    "validate": Command("losses and metrics of a trained model on the held-out part of the training audio", _lightning),
    "test": Command("metrics of a trained model on the test audio: a table, metrics.csv and pictures", _lightning),
    "predict": Command("render the dry test audio through a trained model to wav files", _lightning),
    "process": Command("audio files and folders through a model: a run, a bundle or a .nam file", _process),
    "export": Command("a model as a file for other runtimes, checked against them", _export),
    "demo": Command("a page that runs a model in the browser", _demo),
    "benchmark": Command("how fast models run as streams, by block size and runtime, and what they cost", _benchmark),
    "plot": Command("figures of a trained model: response, distortion, stages, training curves", _plot),
    "sweep": Command("grids and searches: what is done of many runs, and the rest of it run", _sweep),
    "compare": Command("finished runs side by side: mean, spread, ranks", _compare),
    "report": Command("one page about finished runs: players, a blind test, figures; or a listening test", _report),
    "check-data": Command("what recordings are like before training: a table, pictures, aligned copies", _check_data),
    "capture-signal": Command("a signal to play through a device of yours and record", _capture_signal),
    "import-capture": Command("recordings of that signal as a data set, aligned and cut", _import_capture),
    "import-dataset": Command("a public data set as it was downloaded, in the layout of this package", _import_dataset),
    "configs": Command("list the shipped configs, or copy them", _configs),
    "demo-data": Command("lay out the recordings of the demo configs", _demo_data),
    "convert": Command("a config or checkpoint of the published framework, as one of this", _convert),
    "pretrain": Command("weights that draw tanh or an impulse response, for a gray box to start from", _pretrain),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run `nablafx WORDS`; returns the exit status: 0, 2 for misuse, else that of the mistake, mostly 1."""
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"nablafx {version('nablafx')}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"nablafx: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    from nablafx.errors import UserError, plain
    from nablafx.trust import taking

    try:
        with taking(rest) as rest:
            COMMANDS[name].run(name, rest)
    except UserError as mistake:
        told = plain(str(mistake))
        # some quote what they were given, which may be a file
        print(f"nablafx {name}: {told if len(told) <= 8000 else told[:8000] + ' …'}", file=sys.stderr)
        return mistake.status
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"nablafx {name}: {error.strerror}{where}; make room, or mend the rights of the folder", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"nablafx {name}: interrupted", file=sys.stderr)
        return 130
    return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "nablafx learns the sound of audio gear from dry and wet recordings.",
            "",
            "usage: nablafx COMMAND [-c FILE.yaml]... [--KEY VALUE]...",
            "",
            *lines,
            "",
            "  nablafx fit -c data/demo-ts9.yaml -c model/lstm/32.yaml -c model/with/fixed.yaml -c trainer/tbptt.yaml",
            "  nablafx test -c logs/demo-ts9/lstm-32/tbptt/version_0/config.yaml",
            "",
            "nablafx COMMAND --help tells every option; --version this version.",
            "--allow PACKAGE, with any command: configs may name classes of this package, whose code then runs.",
        ]
    )
