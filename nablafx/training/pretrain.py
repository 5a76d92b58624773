"""nablafx pretrain: weights that draw tanh, or an impulse response, before any device has been heard."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch

from nablafx.errors import UserError
from nablafx.layers.pretrained import save_pretrained
from nablafx.layers.siren import REACH, SirenCurve, SirenTaps
from nablafx.plots.pretraining import Tone, plot_curve_fit, plot_taps_fit
from nablafx.training.files import png_bytes
from nablafx.training.fitting import SAMPLE_RATE, Tell, fit_curve, fit_taps, measure_curve, measure_taps, thd
from nablafx.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_SECONDS = 10.0
SUFFIX = ".safetensors"
SHORTEST = 16  # samples of a response, and taps
LONGEST_SECONDS = 60.0
COARSE_DB = -30.0
FADE = 1 / 8  # of the taps, where a response is cut


def run(words: list[str]) -> None:
    """Run `nablafx pretrain WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    output = _checked(arguments.output or arguments.name(arguments), arguments.overwrite)
    # nets of this size only wait for a second thread
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        arguments.run(arguments, output)
    finally:
        torch.set_num_threads(threads)


def read_response(path: str | Path, num_taps: int) -> tuple[np.ndarray, list[str]]:
    """Impulse response of a wav or flac file as taps (num_taps,) at 48 kHz, and what had to be done to it, in words.

    Its level is kept: at another rate each sample stands for another time, and the taps are scaled by the ratio. A
    longer response ends in half a cosine over the last eighth of the taps, a shorter one in zeros.

    Raises:
        UserError: no file of audio, several channels, shorter than 16 samples, longer than a minute, not finite, or
            silent as far as the taps reach.
    """
    audio, rate = _read(Path(path))
    notes = []
    if rate != SAMPLE_RATE:
        import soxr  # loaded only where a rate differs

        audio = soxr.resample(audio, rate, SAMPLE_RATE, quality="VHQ") * (rate / SAMPLE_RATE)
        notes.append(f"resampled from {rate:,} to {SAMPLE_RATE:,} Hz")
    taps = np.zeros(num_taps)
    taps[: len(audio)] = audio[:num_taps]
    if np.abs(taps).max() < 1e-9:
        raise UserError(
            f"the response {path} is silent in its first {num_taps:,} samples. "
            "Cut the silence before it, or give a recording of an impulse response"
        )
    if len(audio) > num_taps:
        length = max(1, round(FADE * num_taps))
        taps[-length:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, length + 1) / length)
        rest = np.append(audio[:num_taps] - taps, audio[num_taps:])
        lost = 10 * np.log10(max(np.vdot(rest, rest) / np.vdot(audio, audio), 1e-20))
        notes.append(
            f"cut from {len(audio):,} to {num_taps:,} samples ({1e3 * num_taps / SAMPLE_RATE:.1f} ms) with a fade-out: "
            f"what is cut has {lost:.1f} dB of its energy"
        )
    elif len(audio) < num_taps:
        notes.append(f"{len(audio):,} samples, and zeros up to {num_taps:,}")
    return taps, notes


def _read(path: Path) -> tuple[np.ndarray, int]:
    """The samples (T,) of a response, float64, and their rate in Hz."""
    import soundfile

    if not path.is_file():
        raise UserError(f"there is no file {path}; give a wav or flac file of an impulse response")
    try:
        with soundfile.SoundFile(path) as file:
            frames, rate, channels = file.frames, file.samplerate, file.channels
            if channels != 1:
                raise UserError(f"the response {path} has {channels} channels; give a file of the one that you want")
            if frames < SHORTEST or frames > LONGEST_SECONDS * rate:
                raise UserError(
                    f"the response {path} has {frames:,} samples ({frames / rate:.3g} s); an impulse response needs "
                    f"from {SHORTEST} samples to {LONGEST_SECONDS:g} s"
                )
            audio = file.read(dtype="float64")
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: it asks what a headerless .raw holds
        raise UserError(f"the file {path} cannot be read as audio ({error}); give a wav or flac file") from error
    if not np.isfinite(audio).all():
        raise UserError(f"the response {path} holds values that are no numbers; export it anew")
    return audio, rate


def _fit_tanh(arguments: argparse.Namespace, output: Path) -> None:
    sizes = arguments.hidden_size, arguments.num_hidden, arguments.w0, arguments.reach
    with _progress(f"tanh by {_count(SirenCurve(*sizes))} parameters") as tell:
        curve = fit_curve(*sizes, arguments.steps, arguments.seed, tell)
    found = measure_curve(curve)
    for sine in found.sines:
        print(
            f"Sine of amplitude {sine.amplitude:g}: THD {100 * thd(sine.prediction):.4g} %, of tanh "
            f"{100 * thd(sine.target):.4g} %; what differs is at {sine.residual_db:.1f} dB"
        )
    title = f"tanh drawn by a SIREN of {_count(curve)} parameters, held outside ±{curve.reach:g}"
    tones = [Tone(*sine) for sine in found.sines]
    figure = plot_curve_fit(found.x, found.target, found.prediction, tones, SAMPLE_RATE, title)
    errors = f"errors between the training points up to {found.inside:.2g}, beyond ±{curve.reach:g} {found.beyond:.2g}"
    _write(output, curve, figure, errors)


def _fit_fir(arguments: argparse.Namespace, output: Path) -> None:
    target, notes = read_response(arguments.response, arguments.num_taps)
    for note in notes:
        print(f"{arguments.response}: {note}")
    sizes = arguments.hidden_size, arguments.num_hidden, arguments.w0
    with _progress(f"{len(target):,} taps by {_count(SirenTaps(2, *sizes))} parameters") as tell:
        net = fit_taps(torch.from_numpy(target), *sizes, arguments.steps, arguments.seed, tell)
    prediction = net().detach().double().numpy()
    found = measure_taps(target, prediction)
    title = f"{Path(arguments.response).name} drawn by a SIREN of {_count(net)} parameters"
    errors = (
        f"energy of the error {found.energy_db:.1f} dB, its largest tap {found.tap_db:.1f} dB, "
        f"its loudest frequency {found.response_db:.1f} dB"
    )
    if found.energy_db > COARSE_DB:
        print("The net follows the response coarsely: give it more sines with --hidden_size, or fewer taps to draw")
    _write(output, net, plot_taps_fit(target, prediction, SAMPLE_RATE, title), errors)


def _count(module: torch.nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()):,}"


def _checked(output: Path, overwrite: bool) -> Path:
    """The place for the weights, known to take them before a minute is spent."""
    if output.suffix != SUFFIX:
        raise UserError(f"--output {output}: weights are a {SUFFIX} file, so give it that ending")
    there = [str(path) for path in (output, output.with_suffix(".png")) if path.exists()]
    if there and not overwrite:
        raise UserError(f"{there[0]} is there already; say --overwrite, or give another place with --output")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if output.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"--output {output}: nothing can be written there; give a place in a folder of yours")
    return output


def _write(output: Path, net: SirenCurve | SirenTaps, figure: Figure, errors: str) -> None:
    picture = output.with_suffix(".png")
    try:
        with replacing(output) as temporary:
            save_pretrained(net.siren, temporary, net.facts)
        with replacing(picture) as temporary:
            temporary.write_bytes(png_bytes(figure))
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error}") from error
    print(f"Weights in {output}, picture in {picture}: {errors}")


@contextmanager
def _progress(title: str) -> Iterator[Tell]:
    """A bar on a terminal; elsewhere a line at most every 10 s, and one at the end."""
    if sys.stdout.isatty():
        from rich.progress import Progress

        with Progress() as bar:
            task = bar.add_task(title)
            yield lambda done, total, loss: bar.update(task, completed=done, total=total)
        return
    print(f"Fitting {title}", flush=True)
    begun = told = time.monotonic()

    def tell(done: int, total: int, loss: float) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told > LOG_SECONDS or done == total:
            told = now
            print(f"Step {done:,} of {total:,}, loss {loss:.2g}, {now - begun:.0f} s", flush=True)

    yield tell


class _Parser(argparse.ArgumentParser):
    """Raises what the command line tells."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}\nEvery option: {self.prog} --help")


def _parser() -> _Parser:
    parser = _Parser("nablafx pretrain", description="Fit weights for a gray box to start from.")
    goals = parser.add_subparsers(metavar="GOAL", required=True, title="goals")
    text = "Fit the curve of a StaticMLPNonlinearity to tanh."
    tanh = goals.add_parser("tanh", help="the curve of StaticMLPNonlinearity", description=text)
    _add_options(tanh, w0=30.0, output="weights/tanh-HIDDEN_SIZE.safetensors")
    _add(tanh, "--reach", _positive, REACH, "|x| beyond which the curve keeps its value")
    tanh.set_defaults(run=_fit_tanh, name=lambda given: Path(f"weights/tanh-{given.hidden_size}{SUFFIX}"))
    text = "Fit the taps of a StaticFIRFilter to an impulse response."
    fir = goals.add_parser("fir", help="the taps of StaticFIRFilter", description=text)
    fir.add_argument("response", help="wav or flac file of an impulse response, one channel")
    _add_options(fir, w0=100.0, output="weights/RESPONSE-fir.safetensors")
    _add(fir, "--num_taps", _at_least(SHORTEST), 1024, "length of the filter at 48 kHz")
    fir.set_defaults(run=_fit_fir, name=lambda given: Path(f"weights/{Path(given.response).stem}-fir{SUFFIX}"))
    return parser


def _add_options(parser: argparse.ArgumentParser, w0: float, output: str) -> None:
    _add(parser, "--hidden_size", _at_least(1), 32, "sines of a layer")
    _add(parser, "--num_hidden", _at_least(1), 3, "layers of sines")
    _add(parser, "--w0", _positive, w0, "frequency of the sines")
    _add(parser, "--steps", _at_least(1), 1000, "of Adam, and as many of L-BFGS")
    _add(parser, "--seed", _at_least(0), 0, "the same seed gives the same weights")
    place = f"file of the weights, with a picture beside it (default: {output})"
    parser.add_argument("--output", type=Path, metavar="FILE", help=place)
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def _add(parser: argparse.ArgumentParser, name: str, kind: Callable[[str], float], default: float, text: str) -> None:
    parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{text} (default: %(default)s)")


def _at_least(lowest: int) -> Callable[[str], int]:
    def count(word: str) -> int:
        if not word.isdecimal() or int(word) < lowest:
            raise argparse.ArgumentTypeError(f"{word!r} is no whole number of {lowest} or more")
        return int(word)

    return count


def _positive(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{word!r} is no positive number")
    return number
