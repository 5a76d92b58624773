"""Time of the filters, forward and backward, beside the ways in use elsewhere, in one run.

    python scripts/benchmark_filters.py --rounds 9
    python scripts/benchmark_filters.py --device cuda --skip block-loop equaliser-loop sample-loop

Every round runs every way once, in an order of its own: shared machines drift by more than what is to be seen, and a
way finds the caches as the one before left them. After a round that warms up, the times are medians over the rounds,
and the ratios, to the first way of a table, medians of the ratios within them. CPU time is that of all threads of the
process, so what others do on the machine counts little. On CUDA the time is that between two events.

Difference: the largest one of y from scipy's filter in float64, over the largest |y|. scipy carries the states of
`sosfilt` from block to block; `svfilt` and the filters with coefficients for every sample carry others, which differ
after a change. Gradients reach the audio and the coefficients.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import published_filters as published
import torch
from rich.console import Console
from rich.table import Table
from scipy import signal
from torch import Tensor

from nablafx.dsp import biquad, filtering, units
from nablafx.kernels import describe

SAMPLE_RATE = 48_000
TAPS = 1024
EXCERPT = 2_400  # samples of the loop in plain torch, which would take minutes for all
COMPILED = ("filter-passes", "sample-filter")  # for a CPU only, as they are written here
SLOW = (
    "frequency-sampling",
    "block-loop",
    "equaliser-loop",
    *COMPILED,
    "svfilt-each-sample",
    "conv1d",
    "one-fft",
    "sample-loop",
)


@dataclass
class Way:
    """A way to compute y from leaves that want gradients, and what it took."""

    name: str
    run: Callable[..., Tensor]
    leaves: tuple[Tensor, ...]
    exact: Tensor
    scale: float = 1.0
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    difference: float = 0.0

    def __post_init__(self) -> None:
        self.grad = torch.randn(self.exact.shape, device=self.leaves[0].device)

    def step(self, keep: bool) -> None:
        """Forward and backward once, in milliseconds; of a step that is not kept, the result is looked at."""
        clock = _Events() if self.grad.is_cuda else _Clock()
        y = self.run(*self.leaves)
        torch.autograd.grad(y, self.leaves, self.grad)
        cpu, wall = clock.read()
        if keep:
            self.cpu.append(cpu * self.scale)
            self.wall.append(wall * self.scale)
        else:
            error = (y.detach().cpu().double() - self.exact).abs().max()
            self.difference = float(error / self.exact.abs().max())


class _Clock:
    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        return 1e3 * (time.process_time() - self.cpu), 1e3 * (time.perf_counter() - self.wall)


class _Events(_Clock):
    def __init__(self) -> None:
        torch.cuda.synchronize()
        super().__init__()
        self.start, self.stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.start.record()

    def read(self) -> tuple[float, float]:
        self.stop.record()
        torch.cuda.synchronize()
        return super().read()[0], self.start.elapsed_time(self.stop)


def static_ways(options: argparse.Namespace) -> list[Way]:
    x, sos = _audio(options), _sections(options, sets=1)
    exact = _scipy_sosfilt(x, sos, options.samples)
    ways: dict[str, Callable[..., Tensor]] = {
        "svfilt": lambda x, sos: filtering.svfilt(x, sos)[0],
        "sosfilt": lambda x, sos: filtering.sosfilt(x, sos)[0],
        "frequency-sampling": published.frequency_sampling,
        "filter-passes": published.filter_passes,
    }
    return [Way(name, run, _leaves(options, x, sos), exact) for name, run in ways.items()]


def varying_ways(options: argparse.Namespace) -> list[Way]:
    block = options.block
    x, sos = _audio(options), _sections(options, sets=-(-options.samples // block))
    exact = _scipy_sosfilt(x, sos, block)
    ways: dict[str, Callable[..., Tensor]] = {
        "svfilt": lambda x, sos: filtering.svfilt(x, sos, block=block)[0],
        "sosfilt": lambda x, sos: filtering.sosfilt(x, sos, block=block)[0],
        "block-loop": partial(published.block_loop, block=block),
        "sample-filter": partial(published.sample_filter, block=block),
    }
    leaves = _leaves(options, x, sos)
    # the same sections, so that the same y is expected
    each = _leaves(options, x, sos.repeat_interleave(block, dim=1)[:, : options.samples])
    last = Way("svfilt-each-sample", lambda x, sos: filtering.svfilt(x, sos, block=1)[0], each, exact)
    return [*(Way(name, run, leaves, exact) for name, run in ways.items()), last]


def equaliser_ways(options: argparse.Namespace) -> list[Way]:
    block = options.block
    x, bells = _audio(options), _bells(options, sets=-(-options.samples // block))
    exact = _scipy_sosfilt(x, biquad.peaking(*bells, 1.0, SAMPLE_RATE), block)
    kinds = biquad.table([biquad.PEAKING] * options.sections).to(options.device)

    def ours(x: Tensor, gain_db: Tensor, cutoff_hz: Tensor) -> Tensor:
        sos = biquad.design(kinds, gain_db, cutoff_hz, torch.ones_like(gain_db), SAMPLE_RATE)
        return filtering.svfilt(x, sos, block=block)[0]

    loop = partial(published.equaliser_loop, block=block, sample_rate=SAMPLE_RATE)
    leaves = _leaves(options, x, *bells)
    return [Way("equaliser", ours, leaves, exact), Way("equaliser-loop", loop, leaves, exact)]


def fir_ways(options: argparse.Namespace) -> list[Way]:
    x, taps = _audio(options), torch.randn(TAPS) * torch.linspace(0, -7, TAPS).exp()
    exact = torch.from_numpy(signal.lfilter(taps.double().numpy(), [1.0], x.double().numpy()))
    ways: dict[str, Callable[..., Tensor]] = {
        "fir": lambda x, taps: filtering.fir(x, taps)[0],
        "conv1d": published.conv1d,
        "one-fft": published.one_fft,
    }
    return [Way(name, run, _leaves(options, x, taps), exact) for name, run in ways.items()]


def envelope_ways(options: argparse.Namespace) -> list[Way]:
    x = _audio(options).abs()
    attack, release = (units.pole(torch.tensor([[time_ms]]), SAMPLE_RATE) for time_ms in (5.0, 100.0))
    exact = _envelope(x, float(attack), float(release))
    length = min(EXCERPT, options.samples)
    parts = _leaves(options, x[..., :length], attack, release)
    whole = _leaves(options, x, attack, release)
    scale = options.samples / length
    return [
        Way("envelope", lambda x, *poles: filtering.envelope(x, *poles)[0], whole, exact),
        Way("sample-loop", published.envelope_loop, parts, exact[..., :length], scale),
    ]


GROUPS: dict[str, Callable[[argparse.Namespace], list[Way]]] = {
    "sections that stay": static_ways,
    "a set of sections for every block": varying_ways,
    "a dynamic equaliser, from its gains and cut-offs in every block": equaliser_ways,
    f"FIR filter of {TAPS} taps": fir_ways,
    f"envelope; sample-loop: {EXCERPT:,} samples at most, scaled up": envelope_ways,
}


def measure(options: argparse.Namespace) -> dict[str, list[Way]]:
    """All ways that are not skipped, timed; the first one of a group is ours."""
    torch.manual_seed(0)
    skip = {*options.skip, *(COMPILED if options.device == "cuda" else ())}
    groups = {title: [way for way in make(options) if way.name not in skip] for title, make in GROUPS.items()}
    every, shuffled = [way for ways in groups.values() for way in ways], random.Random(0)
    for number in range(options.rounds + 1):
        for way in shuffled.sample(every, len(every)):
            way.step(keep=number > 0)
    return groups


def report(options: argparse.Namespace, groups: dict[str, list[Way]]) -> None:
    console = Console(width=120)
    machine = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    console.print(
        f"batch {options.batch} x {options.samples:,} float32, {options.sections} sections, blocks of {options.block}; "
        f"{machine}, {describe(options.device)}, torch on {torch.get_num_threads()}; forward + backward, "
        f"{options.rounds} rounds; x: times the first row"
    )
    kinds = ["wall"] if options.device == "cuda" else ["cpu", "wall"]
    for title, ways in groups.items():
        table = Table("way", *(f"{k} ms" for k in kinds), *(f"x {k}" for k in kinds), "difference", title=title)
        for way in ways:
            times = [f"{statistics.median(getattr(way, kind)):,.2f}" for kind in kinds]
            ratios = [f"{_ratio(way, ways[0], kind):.2f}" for kind in kinds]
            table.add_row(way.name, *times, *ratios, f"{way.difference:.1e}")
        console.print(table)
    stay, change = list(groups.values())[:2]
    for one, other in zip(stay[:2], change[:2], strict=True):
        console.print(f"{one.name}, a set for every block / sections that stay: {_ratio(other, one, kinds[0]):.2f}")


def _ratio(way: Way, to: Way, kind: str) -> float:
    return statistics.median(a / b for a, b in zip(getattr(way, kind), getattr(to, kind), strict=True))


def _audio(options: argparse.Namespace) -> Tensor:
    return torch.randn(options.batch, 1, options.samples)


def _leaves(options: argparse.Namespace, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().to(options.device).requires_grad_() for tensor in tensors)


def _sections(options: argparse.Namespace, sets: int) -> Tensor:
    """Bells (B, sets, K, 6)."""
    return biquad.peaking(*_bells(options, sets), 1.0, SAMPLE_RATE)


def _bells(options: argparse.Namespace, sets: int) -> tuple[Tensor, Tensor]:
    """Gains in dB and cut-offs from 100 Hz to 8 kHz that walk at random, (B, sets, K)."""
    shape = (options.batch, sets, options.sections)
    spread = 24 * torch.rand(options.batch, 1, options.sections) - 12
    gain_db = (spread + 0.25 * torch.randn(shape).cumsum(1)).clamp(-18, 18)
    cutoff_hz = torch.logspace(2, np.log10(8_000), options.sections) * (0.01 * torch.randn(shape).cumsum(1)).exp()
    return gain_db, cutoff_hz


def _scipy_sosfilt(x: Tensor, sos: Tensor, block: int) -> Tensor:
    y = np.empty(x.shape)
    for item, sets in enumerate(sos.numpy()):
        state = np.zeros((sets.shape[1], 2))
        for n, sections in enumerate(sets):
            part = slice(n * block, (n + 1) * block)
            y[item, 0, part], state = signal.sosfilt(sections, x[item, 0, part].double().numpy(), zi=state)
    return torch.from_numpy(y)


def _envelope(x: Tensor, attack: float, release: float) -> Tensor:
    """scipy has no such filter: the formula, in numpy."""
    e = np.zeros(x.shape[:2])
    y = np.empty(x.shape)
    for n, u in enumerate(np.moveaxis(x.double().numpy(), -1, 0)):
        e = u + np.where(u > e, attack, release) * (e - u)
        y[..., n] = e
    return torch.from_numpy(y)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=96_000)
    parser.add_argument("--sections", type=int, default=5)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--skip", nargs="*", default=[], choices=SLOW, metavar="WAY", help=", ".join(SLOW))
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    report(options, measure(options))


if __name__ == "__main__":
    main()
