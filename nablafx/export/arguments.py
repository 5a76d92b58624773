"""What the commands of this room ask for alike: a model, where its knobs stand, and audio to try it with."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
from torch import Tensor

from nablafx.data.audio import blocks, header
from nablafx.errors import UserError
from nablafx.export.bundle import SUFFIX
from nablafx.export.model import Model
from nablafx.shipped import ROOT
from nablafx.training.controls import controls_of

RIFF = ROOT / "demo" / "DRY" / "test" / "t-eguitar.input.flac"
"""A shipped guitar riff, for who names no audio."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """The argument `model`, and --checkpoint and --controls."""
    parser.add_argument("model", help=f"a run's folder, a checkpoint, a bundle ({SUFFIX}), or a .nam file")
    parser.add_argument(
        "--checkpoint", choices=["best", "last"], default="best", help="of a run (default: %(default)s)"
    )
    parser.add_argument("--controls", metavar="D=0.5,T=1", help="knobs from 0 to 1 (default: 0.5)")


def knobs_of(model: Model, given: str | None) -> Tensor | None:
    """'D=0.3,T=1' -> (1, P), or None for an effect without knobs.

    Raises:
        UserError: it names knobs that are not there, or values that cannot be.
    """
    if model.effect.num_controls:
        return controls_of(given or "", model.control_names)
    if given:
        raise UserError(f"{model.name} has no knobs; leave --controls away")
    return None


def read_mono(path: Path, sample_rate: int, option: str, seconds: int | None = None) -> np.ndarray:
    """The first seconds (None: all) of a file's first channel at another rate, (T,) float32.

    Args:
        option: of the command that names the file.

    Raises:
        UserError: it cannot be read, is empty, or has samples that are no numbers.
    """
    try:
        rate = header(path).samplerate
        pieces = [piece.copy() for piece in islice(blocks(path, 0, rate), seconds)]
        mono = np.concatenate([np.zeros(0, np.float32), *pieces])
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{path} cannot be read: {error}; name an audio file with {option}") from error
    except ValueError as error:
        raise UserError(f"{path} {error}; or name another file with {option}") from error
    if not len(mono) or not np.isfinite(mono).all():
        raise UserError(f"{path} has no audio in it, or samples that are no numbers; name another file with {option}")
    if rate == sample_rate:
        return mono
    import soxr  # loaded only where a rate differs

    return soxr.resample(mono, rate, sample_rate, quality="VHQ")
