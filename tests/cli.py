"""Calling the command line in this process."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

from nablafx.cli import main


class Result(NamedTuple):
    status: int
    out: str
    err: str


def nablafx(*words: object) -> Result:
    """`nablafx WORDS` with its status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return Result(status, out.getvalue(), err.getvalue())


def data_words(demo, *, controls: str | None = None) -> list[str]:
    """The arguments that name a generated data set and cut it small."""
    words = ["--data.dry", demo.dry, "--data.wet", demo.wet, "--data.segment_length", 4800, "--data.batch_size", 4]
    return [str(word) for word in (*words, *(["--data.controls", controls] if controls else []))]


def config(root: Path, *names: str) -> list[str]:
    """-c cfg/NAME.yaml for each name."""
    return [word for name in names for word in ("-c", str(root / "cfg" / f"{name}.yaml"))]
