"""The benchmark: what it counts against sums by hand, what it times by a clock that the test moves."""

from __future__ import annotations

import csv
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from nablafx.conditioning import FiLM, FixedConditioning, TFiLM, TinyTFiLM, TVFiLM
from nablafx.controllers import DynamicCondController, DynamicController, StaticController
from nablafx.effects import GCN, LSTM, S4, TCN, EnvelopeLSTM, GrayBox, Stage
from nablafx.errors import UserError
from nablafx.export import benchmark, paths, timing
from nablafx.export.costs import macs, parameters, state_bytes
from nablafx.export.model import Facts, Model
from nablafx.export.paths import PATHS, CompiledEngine, FramesEngine, NoPathError
from nablafx.export.streamer import Streamer
from nablafx.plots import plot_benchmark
from nablafx.processors import Gain, ParametricEQ, StaticFIRFilter, StaticMLPNonlinearity, StaticRationalNonlinearity
from tests.contract.cases import CASES

BUNDLE = Path(__file__).with_name("bundle-v1.nablafx")
SMALL = "model/tcn/45-s"


def model_of(effect, rate: int = 48_000) -> Model:
    names = tuple(f"k{n}" for n in range(effect.num_controls))
    return Model(effect.eval(), rate, names, "model", {}, Facts())


# five blocks of 16 channels and 7 taps, each with its residual, and the read-out
TCN_MACS = 16 * 7 + 4 * 16 * 16 * 7 + 5 * 16 + 16
LSTM_MACS = 4 * 32 * (1 + 32) + 3 * 32 + 32
S4_MACS = 16 + 4 * (16 * 16 + 16 * (4 * 8 + 1) + 16) + 16
COUNTS = {
    "TCN": (TCN, TCN_MACS),
    "LSTM": (LSTM, LSTM_MACS),
    "S4": (S4, S4_MACS),
    # twice the channels before the gates, 16 gates, a mix but for the last block, and what the output hears
    "GCN": (GCN, 32 * 7 + 4 * 32 * 16 * 7 + 5 * 16 + 4 * 16 * 16 + 5 * 16),
    "direct": (partial(TCN, direct_path=True), TCN_MACS + 1),
    "FiLM": (partial(TCN, 3, conditioning=FiLM), TCN_MACS + 5 * 16),
    "TFiLM": (
        partial(TCN, 3, conditioning=TFiLM),
        TCN_MACS + 5 * 16 + 5 * (4 * 32 * (16 + 3 + 32) + 3 * 32) / 128,
    ),
    "TinyTFiLM": (
        partial(TCN, 3, conditioning=partial(TinyTFiLM, block_size=16)),
        TCN_MACS + 5 * 16 + 5 * (16 * 4 + 4 * 4 * (4 + 3 + 4) + 3 * 4 + 4 * 16 + 16 * 32 + 32 * 32) / 16,
    ),
    "TVFiLM": (
        partial(TCN, 3, conditioning=TVFiLM),
        TCN_MACS + 5 * 16 + (4 * 32 * (1 + 3 + 32) + 3 * 32 + 5 * 32 * 32) / 128,
    ),
    "fixed": (partial(LSTM, 3, conditioning=FixedConditioning), LSTM_MACS),
    "varying": (
        partial(LSTM, 3, conditioning=partial(TVFiLM, num_features=16)),
        LSTM_MACS + (4 * 16 * (1 + 3 + 16) + 3 * 16 + 4 * 32 * 16) / 128,
    ),
    # resonators, filters, followers, gates, read-out and gain, the last poles and filter
    "envelopes": (EnvelopeLSTM, 8 * 9 + 12 * 32 + 8 + 4 * 32 * (20 + 32) + 3 * 32 + 2 * 32 + 1 + (4 * 8 + 1) + 512),
    "deep": (partial(LSTM, num_layers=2), LSTM_MACS + 4 * 32 * 64 + 3 * 32),
}


@pytest.mark.parametrize(("make", "expected"), COUNTS.values(), ids=COUNTS.keys())
def test_multiply_accumulates_of_nets(make, expected):
    assert macs(make()) == pytest.approx(expected, rel=1e-12)


def test_multiply_accumulates_of_chains():
    stages = {
        "eq": Stage(ParametricEQ, StaticController),
        "gain": Stage(Gain, partial(DynamicController, hidden_size=8)),
        "curve": Stage(StaticMLPNonlinearity),
        "rational": Stage(StaticRationalNonlinearity),
        "fir": Stage(partial(StaticFIRFilter, num_taps=100)),
    }
    expected = 5 * 9 + 1 + (4 * 8 * 9 + 3 * 8 + 8) / 128 + 32 + 2 * 32 * 32 + 32 + 6 + 5 + 100
    assert macs(GrayBox(stages)) == pytest.approx(expected, rel=1e-12)


def test_what_a_stream_carries():
    # contexts of the convolutions, float32
    assert state_bytes(TCN()) == 4 * 6 * (1 + 16 * (4 + 16 + 64 + 256))
    assert state_bytes(LSTM()) == 4 * 2 * 32
    assert parameters(LSTM()) == 4513
    chain = GrayBox({"gain": Stage(Gain, DynamicCondController)}, 2)
    assert state_bytes(chain) == 4 * 2


@pytest.mark.parametrize("name", CASES)
def test_every_case_can_be_counted(name):
    model = CASES[name](dtype=torch.float32)
    assert math.isfinite(macs(model))
    assert state_bytes(model) >= 0


@pytest.mark.parametrize(
    "make",
    [
        partial(TCN, num_blocks=3, direct_path=True, residual_delay=1),
        partial(GCN, num_blocks=3, residual_delay=1, direct_path=True),
        partial(TCN, 2, conditioning=FiLM),
    ],
    ids=["TCN", "GCN", "FiLM"],
)
def test_frames_sound_as_the_stream(make):
    model = make().eval()
    if model.direct_gain is not None:
        model.direct_gain.data.fill_(0.3)
    x = (0.3 * np.random.default_rng(0).standard_normal(300)).astype(np.float32)
    controls = [0.2, 0.9][: model.num_controls]
    streamer = Streamer(model, controls or None, engine=FramesEngine)
    y = np.concatenate([streamer.process(x[start : start + 50]) for start in range(0, 300, 50)])
    with torch.inference_mode():
        given = torch.tensor([controls]) if controls else None
        expected = model(torch.from_numpy(x).view(1, 1, -1), given)[0].flatten().numpy()
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("make", [LSTM, S4, partial(TCN, conditioning=TFiLM)], ids=["LSTM", "S4", "TFiLM"])
def test_no_frame_holds_what_remembers_for_ever(make):
    with pytest.raises(NoPathError, match="receptive field has no end"):
        FramesEngine(make())


@pytest.mark.parametrize("path", ["onnxruntime", "onnxruntime-fixed"])
def test_what_onnx_runtime_makes_sounds_as_the_effect(path):
    """Knobs are turned before the last block."""
    model = LSTM(2, conditioning=FixedConditioning).eval()
    x = (0.3 * np.random.default_rng(0).standard_normal(128)).astype(np.float32)
    streamer = Streamer(model, [0.5, 0.5], engine=PATHS[path])
    first = streamer.process(x[:64])
    streamer.turn([0.9, 0.1])
    y = np.concatenate([first, streamer.process(x[64:])])
    dry, state, expected = torch.from_numpy(x).view(1, 1, -1), None, []
    with torch.inference_mode():
        for part, knobs in zip(dry.split(64, dim=-1), ([0.5, 0.5], [0.9, 0.1]), strict=True):
            made, state = model(part, torch.tensor([knobs]), state)
            expected.append(made.flatten())
    np.testing.assert_allclose(y, torch.cat(expected), atol=1e-6)


@pytest.mark.slow
def test_what_is_compiled_sounds_as_the_effect():
    model = TCN(num_blocks=2).eval()
    x = (0.3 * np.random.default_rng(0).standard_normal(256)).astype(np.float32)
    try:
        streamer = Streamer(model, engine=CompiledEngine)
        y = np.concatenate([streamer.process(x[start : start + 64]) for start in range(0, 256, 64)])
    except NoPathError as reason:
        pytest.skip(str(reason))
    with torch.inference_mode():
        expected = model(torch.from_numpy(x).view(1, 1, -1))[0].flatten().numpy()
    np.testing.assert_allclose(y, expected, atol=1e-6)


class Clock:
    """Time that passes when an engine runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def engine_of(clock: Clock, costs: list[float]):
    """A class of engines that need so many seconds for their calls, over and over."""

    class Slow:
        def __init__(self, effect) -> None:
            self.calls = 0

        def reset(self, controls) -> None: ...

        def turn(self, controls) -> None: ...

        def run(self, x: np.ndarray) -> np.ndarray:
            clock.now += costs[self.calls % len(costs)]
            self.calls += 1
            return x

    return Slow


def test_timings(monkeypatch):
    """1 ms for 64 samples at 32 kHz is twice as fast as real time; every eleventh call takes four times as long."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    found = timing.measure(model_of(LSTM(), 32_000), engine_of(clock, [1e-3] * 10 + [4e-3]), 64, 0.1)
    assert found.block == pytest.approx(1e-3)
    assert found.worst == pytest.approx(4e-3)
    assert found.real_time_factor == pytest.approx(2)
    assert found.worst_factor == pytest.approx(0.5)
    # a round of eleven calls takes 14 ms
    assert 76 <= found.calls <= 81
    assert torch.get_num_threads() == 1


def test_a_frame_is_timed_as_a_whole(monkeypatch):
    """Blocks of 32 samples: three of four calls only wait for the frame of 128 to be whole, which takes 1 ms."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    found = timing.measure(model_of(TCN(conditioning=TFiLM)), engine_of(clock, [1e-3]), 32, 0.02)
    assert found.real_time_factor == pytest.approx(128 / 48_000 / 1e-3)
    assert found.worst_factor == pytest.approx(32 / 48_000 / 1e-3)


def run(tmp_path, *words: str) -> list[dict[str, str]]:
    """The rows of the CSV that the command writes."""
    benchmark.run([*words, "--seconds", "0", "--output", str(tmp_path)])
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "benchmark.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command(tmp_path, capsys):
    words = [SMALL, "model/lstm/32+fixed", str(BUNDLE), "--paths", "eager,numba,frames", "--block-sizes", "16,64"]
    rows = run(tmp_path, *words)
    told = capsys.readouterr().out
    assert [(r["model"], r["path"], r["block_size"]) for r in rows[:6]] == [
        ("tcn/45-s", path, size) for path in ("eager", "numba", "frames") for size in ("16", "64")
    ]
    first = rows[0]
    assert (first["parameters"], first["latency"], first["state_bytes"]) == ("7457", "0", str(state_bytes(TCN())))
    assert float(first["macs"]) == 48_000 * TCN_MACS
    for row in rows:
        factor = int(row["block_size"]) / float(row["sample_rate"]) / float(row["block"])
        assert float(row["real_time_factor"]) == pytest.approx(factor, rel=1e-4)
        assert float(row["worst_factor"]) <= float(row["real_time_factor"]) * 1.0001
    # two knobs, where none were said and some are needed
    assert {r["parameters"] for r in rows if r["model"] == "lstm/32+fixed"} == {str(4513 + 2 * 128)}
    assert len({r["model"] for r in rows}) == 3
    assert "numba / frames" in told
    assert "Without frames: its receptive field has no end: no frame holds it (lstm/32+fixed" in " ".join(told.split())


def test_a_path_that_is_not_there_is_left_out(tmp_path, capsys, monkeypatch):
    def absent(name: str):
        raise ImportError("No module named 'onnxruntime'")

    monkeypatch.setattr(paths, "import_module", absent)
    rows = run(tmp_path, SMALL, "--paths", "onnxruntime,numba", "--block-sizes", "64")
    assert [row["path"] for row in rows] == ["numba"]
    assert "Without onnxruntime: ONNX Runtime is not here (No module named 'onnxruntime')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model/tcn/45"], "there is no config model/tcn/45.*did you mean"),
        ([SMALL + "+flim"], "there is no config model/with/flim"),
        (["data/demo-ts9"], "describes no effect"),
        ([SMALL, "--paths", "eager,cuda"], "there is no path cuda; there are eager, compiled"),
        ([SMALL, "--block-sizes", "64,0"], "it needs numbers of samples"),
        ([SMALL, "--block-sizes", "64;1"], "it needs numbers of samples"),
    ],
)
def test_mistakes(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, *words)


def test_nothing_that_can_be_timed(tmp_path):
    with pytest.raises(UserError, match="no path of frames can be timed"):
        run(tmp_path, "model/lstm/32", "--paths", "frames")


def test_the_picture():
    curves = {"a": {"eager": [(1, 0.5), (64, 4.0)], "numba": [(1, 2.0), (64, 40.0)]}, "b": {"numba": [(64, 30.0)]}}
    figure = plot_benchmark(curves)
    first, second = figure.axes
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    lines = {line.get_label(): line for line in first.lines}
    for path, points in curves["a"].items():
        np.testing.assert_array_equal(lines[path].get_xydata(), points)
    assert any(np.all(np.asarray(line.get_ydata()) == 1) for line in first.lines)
    # one path, one pen
    (again,) = [line for line in second.lines if line.get_label() == "numba"]
    assert again.get_color() == lines["numba"].get_color() != lines["eager"].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["eager", "numba"]
    with pytest.raises(ValueError, match="no path of any model was timed"):
        plot_benchmark({"a": {}})
