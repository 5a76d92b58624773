"""NAM's own runtime, NeuralAmpModelerCore, as the npm package @opendaw/nam-wasm runs it on Node."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nablafx.errors import UserError

VARIABLE = "NABLAFX_NODE_MODULES"
PACKAGE = "@opendaw/nam-wasm"
SCRIPT = Path(__file__).with_name("core.js")
PATIENCE_S = 600


def node_modules() -> Path | None:
    """The folder of npm packages that the environment names, if it does.

    Raises:
        UserError: the package is not in it.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named)
    if not (folder / PACKAGE / "package.json").is_file():
        raise UserError(f"{VARIABLE} is {named}, where there is no {PACKAGE}; install it there, or unset {VARIABLE}")
    return folder


def play(
    path: Path, audio: np.ndarray, sample_rate: int, sizes: Sequence[int], modules: Path
) -> tuple[np.ndarray, str]:
    """Audio (T,) through a .nam file, in blocks of these sizes in turn.

    Returns:
        What comes out, (T,) float32, and what ran it, with its version.

    Raises:
        UserError: Node is missing, or the Core refuses the file.
    """
    with TemporaryDirectory() as folder:
        dry, wet = Path(folder, "dry.f32"), Path(folder, "wet.f32")
        audio.astype("<f4").tofile(dry)
        words = ["node", SCRIPT, modules / PACKAGE, path, dry, wet, sample_rate, *sizes]
        try:
            done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=PATIENCE_S)
        except FileNotFoundError as error:
            raise UserError(f"{VARIABLE} is set, and there is no node to run what it names; install Node 20") from error
        if done.returncode:
            raise UserError(f"NAM's Core cannot play {path}: {done.stderr.strip().splitlines()[-1]}")
        version = json.loads((modules / PACKAGE / "package.json").read_text())["version"]
        return np.fromfile(wet, "<f4"), f"NAM's Core ({PACKAGE} {version}, fast tanh) on Node {done.stdout.strip()}"
