"""Audio files through a model, of any length in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from nablafx.data.audio import whole_blocks
from nablafx.errors import UserError
from nablafx.export.automation import Automation
from nablafx.export.model import Model
from nablafx.writing import replacing

PIECE = 2**16  # samples at once: what a net of 16 channels keeps of them fits in some tens of megabytes
HOP = 128  # samples between two values of a moving knob: 2.7 ms at 48 kHz
_WAV_BYTES = 2**32 - 2**16  # the size of a wav file is a number of 32 bits
# files that hold whole numbers cut off what lies above full scale
_FLOATING = {"FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III"}
# formats that can hold 32-bit floats, and should, for nothing is lost then
_ROOMY = {"WAV", "WAVEX", "RF64", "W64", "CAF", "AIFF", "AU"}


class Rendered(NamedTuple):
    """What came of a file: `seconds` of audio, and its largest sample where the file cut it off, else None."""

    seconds: float
    cut_peak: float | None


def render_file(
    model: Model,
    source: Path,
    target: Path,
    knobs: Automation | Tensor | None,
    progress: Callable[[int], object] = lambda frames: None,
) -> Rendered:
    """Write `source` through the model to `target`, at the rate and length of the source, each channel by itself.

    Args:
        target: its suffix says the format; floats where that can hold them.
        knobs: (1, P), or their way over time; None for an effect without.
        progress: called with the frames that were read.

    Raises:
        UserError: the source cannot be read, has no samples or NaN in it, or the target cannot be written. Nothing is
            left of the target then.
    """
    layout, subtype = format_of(target)
    try:
        with soundfile.SoundFile(source) as file, replacing(target) as temporary:
            if not file.frames:
                raise UserError(f"{source} has no audio in it")
            if layout == "WAV" and file.frames * file.channels * 4 > _WAV_BYTES:
                layout = "RF64"
            peak, left = 0.0, file.frames
            with soundfile.SoundFile(
                temporary, "w", file.samplerate, file.channels, format=layout, subtype=subtype
            ) as out:
                for block in _rendered(model, file, knobs, progress):
                    # resampled there and back, the end lies some samples off
                    block = block[:left]
                    left -= len(block)
                    peak = max(peak, float(np.abs(block).max(initial=0.0)))
                    out.write(block)
                out.write(np.zeros((left, file.channels), np.float32))
            whole = subtype not in _FLOATING
            return Rendered(file.frames / file.samplerate, peak if whole and peak > 1 else None)
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"cannot render {source} to {target}: {error}") from error


def format_of(target: Path) -> tuple[str, str]:
    """The format and the subtype of soundfile that a file name asks for.

    Raises:
        UserError: soundfile writes no such files.
    """
    name = target.suffix.lstrip(".").upper()
    layout = {"AIF": "AIFF", "WAVE": "WAV", "OPUS": "OGG"}.get(name, name)
    if layout not in soundfile.available_formats():
        raise UserError(
            f"{target}: no audio file ends in {target.suffix or 'nothing'}; name one in .wav, .flac, .aiff, .ogg, .mp3"
        )
    subtype = "FLOAT" if layout in _ROOMY else "PCM_24" if layout == "FLAC" else soundfile.default_subtype(layout)
    return layout, "OPUS" if name == "OPUS" else subtype


def run_pieces(model: Model, pieces: Iterator[np.ndarray], knobs: Automation | Tensor | None) -> Iterator[np.ndarray]:
    """(T, C) of any lengths at the model's rate -> (T, C), all of it together as the effect makes it at once.

    A moving knob is set every HOP samples.
    """
    effect = model.effect
    frame = max(HOP // effect.frame_size, 1) * effect.frame_size
    state, start = None, 0
    for piece in _whole(pieces, frame):
        x = torch.from_numpy(np.ascontiguousarray(piece.T)).unsqueeze(1)
        outputs = []
        for values, length in _stretches(knobs, start, len(piece), frame, model.sample_rate):
            controls = None if values is None else values.expand(len(x), -1)
            with torch.inference_mode():
                y, state = effect(x[..., :length], controls, state)
            outputs.append(y)
            x = x[..., length:]
        start += len(piece)
        yield torch.cat(outputs, dim=-1).squeeze(1).T.numpy()


def _rendered(
    model: Model, file: soundfile.SoundFile, knobs: Automation | Tensor | None, progress: Callable[[int], object]
) -> Iterator[np.ndarray]:
    # of all channels together, and of what resampling makes of them
    size = PIECE // file.channels * file.samplerate // max(file.samplerate, model.sample_rate)
    dry = _read(file, max(size, 1), progress)
    if file.samplerate == model.sample_rate:
        yield from run_pieces(model, dry, knobs)
        return
    there = _resampled(dry, file.samplerate, model.sample_rate, file.channels)
    wet = run_pieces(model, there, knobs)
    yield from _resampled(wet, model.sample_rate, file.samplerate, file.channels)


def _read(file: soundfile.SoundFile, size: int, progress: Callable[[int], object]) -> Iterator[np.ndarray]:
    position = 0
    try:
        for block in whole_blocks(file, size):
            if not np.isfinite(block).all():
                first = position + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
                raise UserError(
                    f"{file.name} has a sample that is no number, at {first / file.samplerate:.3f} s; mend the file"
                )
            yield block
            position += len(block)
            progress(len(block))
    except ValueError as error:
        raise UserError(f"{file.name} {error}") from error


def _resampled(pieces: Iterator[np.ndarray], old: int, new: int, channels: int) -> Iterator[np.ndarray]:
    import soxr  # loaded only where a rate differs

    stream = soxr.ResampleStream(old, new, channels, dtype="float32", quality="VHQ")
    for piece in pieces:
        yield stream.resample_chunk(np.ascontiguousarray(piece))
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _whole(pieces: Iterator[np.ndarray], frame: int) -> Iterator[np.ndarray]:
    """The same samples, cut at multiples of `frame`; only the last piece may end within one."""
    rest: np.ndarray | None = None
    for piece in pieces:
        rest = piece if rest is None or not len(rest) else np.concatenate([rest, piece])
        whole = len(rest) // frame * frame
        if whole:
            yield rest[:whole]
            rest = rest[whole:]
    if rest is not None and len(rest):
        yield rest


def _stretches(
    knobs: Automation | Tensor | None, start: int, length: int, hop: int, sample_rate: int
) -> Iterator[tuple[Tensor | None, int]]:
    """Knobs (1, P), and for how many samples they hold, over `length` samples from `start` on."""
    if not isinstance(knobs, Automation):
        yield knobs, length
        return
    done = 0
    while done < length:
        now = (start + done) / sample_rate
        rests = min((knobs.rests_until(now) - now) * sample_rate, length)
        held = min(max(int(rests) // hop * hop, hop), length - done)
        yield torch.tensor([knobs.at(now)]), held
        done += held
