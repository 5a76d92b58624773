"""A stream of blocks of any sizes gives what the whole signal gives at once, `latency` samples later."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nablafx.effects import LSTM, TCN
from nablafx.export import Streamer

from ..contract.cases import CASES, NUM_CONTROLS, ROUNDED, STEEP

SIZES = (1, 7, 64, 3, 120, 16)
LENGTH = 500


def blocks(x: np.ndarray, sizes=SIZES):
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(x):
            return
        yield x[start : start + size]
        start += size


def stream(streamer: Streamer, x: np.ndarray, sizes=SIZES) -> np.ndarray:
    """All of it, latency taken away, after checking that every block is answered by one of its size."""
    outputs = []
    for block in blocks(x, sizes):
        y = streamer.process(block)
        assert y.shape == block.shape
        assert y.dtype == np.float32
        outputs.append(y)
    outputs.append(streamer.flush())
    assert len(outputs[-1]) == streamer.latency
    y = np.concatenate(outputs)
    assert not y[: streamer.latency].any()
    return y[streamer.latency :]


def at_once(effect, x: np.ndarray, controls=None) -> np.ndarray:
    with torch.no_grad():
        return effect(torch.from_numpy(x).view(1, 1, -1), controls)[0].flatten().numpy()


def noise(length: int = LENGTH) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(length) * 0.3).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_streaming_equals_offline(name):
    effect = CASES[name]().float().eval()
    knobs = [0.3, 0.8] if effect.num_controls else None
    streamer = Streamer(effect, knobs)
    assert streamer.latency == effect.frame_size - 1
    x = noise()
    expected = at_once(effect, x, None if knobs is None else torch.tensor([knobs]))
    heard = stream(streamer, x)
    limit = 1e-4 if name in ROUNDED else 3e-4 if name in STEEP else 1e-5
    assert np.abs(heard - expected).max() <= limit * max(np.abs(expected).max(), 1)
    streamer.reset()
    assert np.array_equal(stream(streamer, x), heard)


@pytest.mark.parametrize("name", [name for name in CASES if "FiLM" in name or "Cond" in name or "Fixed" in name])
def test_knobs_that_are_turned_are_heard_from_the_next_frame_on(name):
    effect = CASES[name]().float().eval()
    if not effect.num_controls:
        pytest.skip("it hears no knobs")
    streamer = Streamer(effect, [0.3, 0.8])
    x, cut = noise(), 256  # whole frames
    assert cut % effect.frame_size == 0
    first = [streamer.process(x[:cut])]
    streamer.turn([0.9, 0.1])
    heard = np.concatenate([*first, streamer.process(x[cut:]), streamer.flush()])[streamer.latency :]
    tensor = torch.from_numpy(x).view(1, 1, -1)
    with torch.no_grad():
        before, state = effect(tensor[..., :cut], torch.tensor([[0.3, 0.8]]))
        after, _ = effect(tensor[..., cut:], torch.tensor([[0.9, 0.1]]), state)
    expected = torch.cat([before, after], dim=-1).flatten().numpy()
    limit = 3e-4 if name in STEEP else 1e-5
    assert np.abs(heard - expected).max() <= limit * max(np.abs(expected).max(), 1)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_number_of_knobs_is_checked(count):
    effect = LSTM(hidden_size=4)
    with pytest.raises(ValueError, match=f"has {NUM_CONTROLS} controls, and 1 were given"):
        Streamer(CASES["TCN-FiLM"]().float(), [0.5])
    if count:
        with pytest.raises(ValueError, match=f"has 0 controls, and {count} were given"):
            Streamer(effect, [0.5] * count)
    else:
        assert Streamer(effect, []).latency == 0


def test_blocks_must_be_mono():
    with pytest.raises(ValueError, match=r"must be mono, of shape \(n,\), got \(2, 3\)"):
        Streamer(LSTM(hidden_size=4)).process(np.zeros((2, 3)))


def test_a_net_that_takes_a_whole_sequence_is_refused():
    with pytest.raises(ValueError, match="cold_start: false"):
        Streamer(TCN(num_blocks=2, cold_start=True))


def test_nothing_in_and_nothing_out():
    streamer = Streamer(LSTM(hidden_size=4))
    assert streamer.process(np.zeros(0)).shape == (0,)
    assert streamer.flush().shape == (0,)
