"""The compiled engine against the effect it is made of, run at once. Oracle: the effect, and its law of cuts."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest
import soundfile
import torch

from nablafx.conditioning import TFiLM, TinyTFiLM, TVFiLM
from nablafx.controllers import StaticController
from nablafx.effects import GCN, LSTM, S4, TCN, EnvelopeLSTM, GrayBox, Stage
from nablafx.export.engine import NoLoweringError, NumbaEngine
from nablafx.export.streamer import Streamer, TorchEngine
from nablafx.kernels.streams import nets, signals
from nablafx.processors import Gain, ParametricEQ
from tests.conftest import ROOT
from tests.contract.cases import BLOCK, CASES, STEEP, controls_for
from tests.effects import committed

LARGEST = 2e-5  # difference, of the largest sample
BLOCKS = [1, 7, 64, 480]
TURN = 5 * BLOCK


def noise(length: int) -> np.ndarray:
    return (0.5 * np.random.default_rng(0).standard_normal(length)).astype(np.float32)


def stream(streamer: Streamer, x: np.ndarray, blocks: list[int] = BLOCKS) -> np.ndarray:
    """x through a stream, in blocks of these sizes over and over, without its end."""
    outputs, start = [], 0
    while start < len(x):
        length = blocks[len(outputs) % len(blocks)]
        outputs.append(streamer.process(x[start : start + length]))
        start += length
    return np.concatenate(outputs)


def at_once(
    model, x: np.ndarray, controls: torch.Tensor | None = None, turned: torch.Tensor | None = None
) -> np.ndarray:
    """x through the effect: the first TURN samples with some controls, what follows with others."""
    given = torch.from_numpy(x).view(1, 1, -1)
    with torch.inference_mode():
        if turned is None:
            return model(given, controls)[0].flatten().numpy()
        first, state = model(given[..., :TURN], controls)
        return torch.cat([first, model(given[..., TURN:], turned, state)[0]], dim=-1).flatten().numpy()


def assert_close(found: np.ndarray, expected: np.ndarray, largest: float = LARGEST) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= largest * np.abs(expected).max()


def compiled() -> int:
    """How many signatures the loops are compiled for."""
    functions = [f for module in (nets, signals) for f in vars(module).values()]
    return sum(len(f.signatures) for f in functions if hasattr(f, "signatures"))


@pytest.mark.parametrize("name", CASES)
def test_every_case_streams_as_it_sounds_at_once(name):
    """Knobs are turned on the way. All is compiled before: nothing may stop the audio."""
    model = CASES[name](dtype=torch.float32).eval()
    controls = controls_for(model, 1)
    turned = None if controls is None else 1 - controls
    x = noise(700)
    streamer = Streamer(model, None if controls is None else controls[0].tolist(), engine=NumbaEngine)
    before = compiled()
    parts = [stream(streamer, x[:TURN])]
    if turned is not None:
        streamer.turn(turned[0].tolist())
    y = np.concatenate([*parts, stream(streamer, x[TURN:]), streamer.flush()])[streamer.latency :]
    assert compiled() == before
    assert_close(y, at_once(model, x, controls, turned), 3e-4 if name in STEEP else LARGEST)


BLOCKWISE = {"block_size": 16}
VARIANTS = {
    "prelu": partial(TCN, act_type="prelu"),
    "rational": partial(TCN, act_type="rational", channel_width=5),
    "no residual": partial(TCN, residual=False, output_activation="none"),
    "growing": partial(TCN, num_blocks=3, channel_width=3, channel_growth=3, direct_path=True, residual_delay=1),
    "stacked": partial(TCN, num_blocks=4, stack_size=2, dilation_growth=10, kernel_size=13),
    "one tap": partial(TCN, kernel_size=1),
    "frames above a piece": partial(TCN, conditioning=partial(TFiLM, block_size=300)),
    "blocks above a piece": partial(TCN, conditioning=partial(TVFiLM, block_size=600, lookahead=False)),
    "growing gates": partial(GCN, num_blocks=3, channel_width=5, channel_growth=2, output_activation="tanh"),
    "late gates": partial(GCN, residual=False, residual_delay=3, direct_path=True),
    "one gate": partial(GCN, num_blocks=1),
    "two gates": partial(GCN, num_blocks=2, residual_delay=1),
    "gates that fill no group": partial(GCN, channel_width=5, conditioning=partial(TFiLM, **BLOCKWISE)),
    "gates of two groups": partial(
        GCN, channel_width=20, conditioning=partial(TinyTFiLM, final_relu=False, lookahead=False, **BLOCKWISE)
    ),
    "few states": partial(
        S4, channel_width=6, num_states=3, act_type="prelu", conditioning=partial(TFiLM, **BLOCKWISE)
    ),
    "wide states": partial(
        S4, channel_width=20, act_type="rational", direct_path=True, residual=False, output_activation="none"
    ),
    "cold states": partial(S4, conditioning=partial(TFiLM, **BLOCKWISE), cold_start=True),
    "cold LSTM": partial(LSTM, cold_start=True),
    "deep LSTM": partial(
        LSTM, hidden_size=20, num_layers=3, direct_path=True, residual=False, output_activation="none"
    ),
    "envelopes of two groups": partial(
        EnvelopeLSTM, hidden_size=20, num_bands=18, num_envelopes=15, kernel_size=5, output_activation="tanh"
    ),
    "envelopes alone": partial(EnvelopeLSTM, num_bands=0),
    "deep LSTM that is steered": partial(
        LSTM, hidden_size=40, num_layers=2, conditioning=partial(TVFiLM, lookahead=False, **BLOCKWISE)
    ),
}


@pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_option_streams_as_it_sounds_at_once(make):
    torch.manual_seed(1)
    model = make(num_controls=0).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("direct_gain"):
            parameter.data.fill_(0.3)
    x = noise(1501)
    expected = at_once(model, x)
    for blocks in (BLOCKS, [len(x)]):
        streamer = Streamer(model, engine=NumbaEngine)
        y = np.concatenate([stream(streamer, x, blocks), streamer.flush()])[streamer.latency :]
        assert_close(y, expected)


def test_another_stream_begins_in_silence():
    model = CASES["TCN-TFiLM-lookahead"](dtype=torch.float32)
    streamer, x = Streamer(model, [0.2, 0.4], engine=NumbaEngine), noise(100)
    first = stream(streamer, x)
    streamer.reset()
    np.testing.assert_array_equal(stream(streamer, x), first)


@pytest.mark.parametrize("blocks", [[64], [4096]], ids=str)
@pytest.mark.parametrize("name", ["GCN-TFiLM-zero-latency", "S4-TVFiLM-lookahead", "Gain-DynamicController-lookahead"])
def test_memory_does_not_grow(name, blocks):
    model = CASES[name](dtype=torch.float32)
    streamer = Streamer(model, [0.5] * model.num_controls or None, engine=NumbaEngine)
    x = noise(blocks[0])
    stream(streamer, x, blocks)
    tracemalloc.start()
    calls = 4000 if blocks == [64] else 60
    for call in range(calls):
        streamer.process(x)
        # Python keeps up to 2000 tuples that are gone, for the next ones
        if call == calls // 2:
            before, _ = tracemalloc.get_traced_memory()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2048


class Louder(TCN):
    """A class that the engine does not know."""

    def process(self, x, controls, state):
        y, state = super().process(x, controls, state)
        return 2 * y, state


class Smoothed(Gain):
    """A processor with memory that no rule knows."""

    def process(self, x, state, *, gain_db):
        y, _ = super().process(x, (), gain_db=gain_db)
        smooth = torch.cat([state, y], dim=-1)
        return smooth[..., 1:] + smooth[..., :-1], y[..., -1:]

    def settle(self, x, *, gain_db):
        y, _ = super().process(x, (), gain_db=gain_db)
        return 2 * y, y


class Polite(ParametricEQ):
    """Sections that it designs itself."""

    def sections(self, **params):
        return super().sections(**{name: value * 0.5 if "gain" in name else value for name, value in params.items()})


class Ramp(StaticController):
    """A controller that follows the audio, without a rule."""

    def forward(self, x, controls, state):
        u, state = super().forward(x, controls, state)
        return u._replace(values=u.values.repeat(1, 1, x.shape[-1]), block_size=1), state

    def rest(self, x, controls):
        return super().forward(x, controls, ())


def test_an_effect_without_a_rule_streams_nevertheless():
    model, x = Louder().eval(), noise(300)
    with pytest.raises(NoLoweringError, match="Louder: there is no rule"):
        NumbaEngine(model)
    assert_close(stream(Streamer(model), x), at_once(model, x))


@pytest.mark.parametrize("processor", [Smoothed, Polite])
@pytest.mark.parametrize("controller", [StaticController, Ramp])
def test_a_new_processor_or_controller_needs_no_rule(processor, controller):
    model = GrayBox({"gain": Stage(Gain, StaticController), "new": Stage(processor, controller)}).eval()
    for parameter in model.parameters():
        parameter.data.normal_()
    x = noise(700)
    assert_close(stream(Streamer(model, engine=NumbaEngine), x), at_once(model, x))


def test_a_cold_net_is_refused():
    with pytest.raises(NoLoweringError, match="cold_start"):
        NumbaEngine(TCN(cold_start=True))


def test_the_fastest_engine_is_taken():
    streamer = Streamer(LSTM())
    assert isinstance(streamer._engine, NumbaEngine)
    assert isinstance(Streamer(LSTM(), engine=TorchEngine)._engine, TorchEngine)


def committed_effects() -> dict[str, partial]:
    nets = {
        "+".join([net, *([overlay] if overlay else [])]): partial(committed.build, net, overlay, 2 if overlay else 0)
        for net in committed.NETS
        for overlay in [None, *committed.OVERLAYS]
    }
    chains = {name: partial(committed.build_chain, name, 2 if "cond" in name else 0) for name in committed.CHAINS}
    return nets | chains


@pytest.mark.slow
@pytest.mark.parametrize("name", committed_effects())
def test_committed_configs_stream_as_they_sound_at_once(name):
    """Three seconds of a guitar, blocks of all sizes."""
    torch.manual_seed(0)
    try:
        model = committed_effects()[name]().eval()
    except ValueError as refusal:
        pytest.skip(str(refusal))
    x, _ = soundfile.read(ROOT / "demo/DRY/test/t-eguitar.input.flac", 144_000, 48_000, dtype="float32")
    controls = torch.tensor([[0.3, 0.8]]) if model.num_controls else None
    streamer = Streamer(model, None if controls is None else controls[0].tolist(), engine=NumbaEngine)
    y = np.concatenate([stream(streamer, x, [1, 7, 64, 480, 128, 4096]), streamer.flush()])[streamer.latency :]
    assert_close(y, at_once(model, x, controls))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s4/l", "lstm/96"])
def test_a_minute_does_not_drift(name):
    """The last second of a minute is as near to the effect as the first one."""
    torch.manual_seed(0)
    model, second = committed.build(name).eval(), 48_000
    x = np.tile(noise(second), 60)
    y = stream(Streamer(model, engine=NumbaEngine), x, [512])
    difference = np.abs(y - at_once(model, x))
    assert difference[-second:].max() <= 2 * difference[:second].max() <= 2 * LARGEST
