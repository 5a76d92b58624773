"""How long a stream takes for its blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from nablafx.export.model import Model
from nablafx.export.streamer import Streamer

_FEWEST = 5  # rounds
_NOISE = 0.3


class Timing(NamedTuple):
    """Of a stream in blocks of one size, on one thread.

    Attributes:
        block_size: samples of a call.
        block: median seconds of a call; of a model that looks ahead and blocks shorter than its frame, of as many calls
            as a frame has, divided by their number: most of them only wait.
        worst: seconds of the slowest call.
        calls: that were timed.
        real_time_factor: seconds of audio that a second makes, by `block`: from 1 on the stream keeps up.
        worst_factor: the same by `worst`: from 1 on no call came too late.
    """

    block_size: int
    block: float
    worst: float
    calls: int
    real_time_factor: float
    worst_factor: float


def measure(model: Model, engine: Callable[..., Any], block_size: int, seconds: float) -> Timing:
    """Time a stream for about so many seconds, and at least some rounds."""
    frame = model.effect.frame_size
    calls = max(1, -(-frame // block_size))
    controls = [0.5] * model.effect.num_controls or None
    with one_thread():
        streamer = Streamer(model.effect, controls, engine)  # type: ignore[arg-type]
        audio = _NOISE * np.random.default_rng(0).standard_normal((16, block_size)).astype(np.float32)
        rounds: list[list[float]] = []
        # the first ones compile, and fill the caches
        for n in range(2 * calls + 1):
            streamer.process(audio[n % len(audio)])
        begun = time.perf_counter()
        while len(rounds) < _FEWEST or time.perf_counter() - begun < seconds:
            rounds.append([_timed(streamer, audio[n % len(audio)]) for n in range(calls)])
    block, worst = median(map(sum, rounds)) / calls, max(map(max, rounds))
    audio_seconds = block_size / model.sample_rate
    return Timing(block_size, block, worst, calls * len(rounds), audio_seconds / block, audio_seconds / worst)


def _timed(streamer: Streamer, x: np.ndarray) -> float:
    begun = time.perf_counter()
    streamer.process(x)
    return time.perf_counter() - begun


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on a single thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
