"""Each conditioning of layers against loops written down from the table of definitions, one sample at a time.

    film     MLP(controls; 3 linear layers, ReLU after each), per layer linear -> (γ, β); y = γ BN(x) + β
    tfilm    per layer: max-pool(x) ⊕ controls -> LSTM -> (γ, β) held over the block
    ttfilm   per layer: max-pool(x) -> 1×1 ⊕ controls -> LSTM -> 16 ReLU -> 32 ReLU -> 2C ReLU = (γ, β)
    tvfilm   shared: max-pool(abs(input)) ⊕ controls -> LSTM; per layer 1×1 -> (γ, β)

Before the first sample lies a constant, held for ever; the loops hear a thousand blocks of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nablafx.conditioning import Conditioning, FiLM, Modulation, TFiLM, TinyTFiLM, TVFiLM, Unconditioned
from tests.layers.oracle import Lstm, array, lstm_weights, relu

BLOCK, CHANNELS, CONTROLS, BATCH, LENGTH = 16, 3, 2, 2, 75


class Signals:
    """Audio and features with a constant before them, and the controls."""

    def __init__(self, controls: int, length: int = LENGTH) -> None:
        torch.manual_seed(1)
        self.audio, self.audio_before = (torch.randn(BATCH, 1, n, dtype=torch.float64) for n in (length, 1))
        self.x, self.x_before = (torch.randn(BATCH, CHANNELS, n, dtype=torch.float64) for n in (length, 1))
        self.controls = torch.rand(BATCH, controls, dtype=torch.float64) if controls else None

    def knobs(self, item: int) -> np.ndarray:
        return np.zeros(0) if self.controls is None else self.controls[item].numpy()


def make(conditioning: Conditioning) -> tuple[Conditioning, Modulation]:
    """With weights large enough that the LSTMs leave their linear range."""
    torch.manual_seed(0)
    modulation = conditioning.modulation(CHANNELS).double()
    conditioning = conditioning.double()
    with torch.no_grad():
        for p in (*conditioning.parameters(), *modulation.parameters()):
            p.uniform_(-0.8, 0.8)
    return conditioning, modulation


def found(conditioning: Conditioning, modulation: Modulation, given: Signals) -> np.ndarray:
    cond, state = conditioning.rest(given.audio_before, given.controls)
    _, modulation_state = modulation.rest(given.x_before, cond)
    cond, _ = conditioning.encode(given.audio, given.controls, state)
    held, _ = modulation(given.x, cond, modulation_state)
    return array(given.x if held is None else held.modulate(given.x))


def blockwise(
    x: np.ndarray, heard: np.ndarray, before: np.ndarray, answer: Callable[[np.ndarray, bool], np.ndarray], ahead: bool
) -> np.ndarray:
    """γ x + β, where answer(peaks of a block of `heard`, for ever) is (γ, β): of the own block, or of the last one."""
    y = np.empty_like(x)
    last = answer(before, True)
    for n in range(x.shape[-1]):
        if n % BLOCK == 0:
            own = answer(heard[:, n : n + BLOCK].max(-1), False)
            gamma, beta = np.split(own if ahead else last, 2)
            last = own
        y[:, n] = gamma * x[:, n] + beta
    return y


def recurrent(weights, knobs: np.ndarray, prepare=lambda peaks: peaks, finish=lambda h: h):
    """The answer of an LSTM to peaks ⊕ controls."""
    lstm = Lstm(weights)

    def answer(peaks: np.ndarray, for_ever: bool) -> np.ndarray:
        features = np.concatenate([prepare(peaks), knobs])
        return finish(lstm.settle(features) if for_ever else lstm.step(features))

    return answer


def only(module: nn.Module, kind: type) -> list:
    return [m for m in module.modules() if isinstance(m, kind)]


def dense(layer: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """A linear layer or a 1x1 convolution."""
    weight, bias = array(layer.weight), array(layer.bias)
    return lambda v: weight.reshape(weight.shape[:2]) @ v + bias


@pytest.mark.parametrize("lookahead", [True, False])
@pytest.mark.parametrize("controls", [0, CONTROLS])
def test_tfilm(lookahead, controls):
    net, layer = make(TFiLM(controls, BLOCK, lookahead))
    given = Signals(controls)
    (lstm,) = only(layer, nn.LSTM)
    assert (lstm.input_size, lstm.hidden_size) == (CHANNELS + controls, 2 * CHANNELS)
    y = found(net, layer, given)
    for item in range(BATCH):
        answer = recurrent(lstm_weights(lstm), given.knobs(item))
        x, before = given.x[item].numpy(), given.x_before[item, :, 0].numpy()
        np.testing.assert_allclose(y[item], blockwise(x, x, before, answer, lookahead), rtol=0, atol=1e-9)


@pytest.mark.parametrize("lookahead", [True, False])
@pytest.mark.parametrize("controls", [0, CONTROLS])
@pytest.mark.parametrize("final_relu", [True, False])
def test_tiny_tfilm(lookahead, controls, final_relu):
    net, layer = make(TinyTFiLM(controls, BLOCK, lookahead, final_relu=final_relu))
    given = Signals(controls)
    (squeeze,), (lstm,), readout = only(layer, nn.Conv1d), only(layer, nn.LSTM), only(layer, nn.Linear)
    assert (lstm.input_size, lstm.hidden_size) == (4 + controls, 4)
    assert [m.out_features for m in readout] == [16, 32, 2 * CHANNELS]
    first, second, third = map(dense, readout)

    def finish(h):
        values = third(relu(second(relu(first(h)))))
        return relu(values) if final_relu else values

    y = found(net, layer, given)
    for item in range(BATCH):
        answer = recurrent(lstm_weights(lstm), given.knobs(item), dense(squeeze), finish)
        x, before = given.x[item].numpy(), given.x_before[item, :, 0].numpy()
        np.testing.assert_allclose(y[item], blockwise(x, x, before, answer, lookahead), rtol=0, atol=1e-9)


@pytest.mark.parametrize("lookahead", [True, False])
@pytest.mark.parametrize("controls", [0, CONTROLS])
def test_tvfilm(lookahead, controls):
    """One LSTM on the peaks of the input, whatever the features are."""
    net, layer = make(TVFiLM(controls, BLOCK, lookahead))
    given = Signals(controls)
    (lstm,), (readout,) = only(net, nn.LSTM), only(layer, nn.Conv1d)
    assert not only(layer, nn.LSTM)
    assert (lstm.input_size, lstm.hidden_size) == (1 + controls, 32)
    y = found(net, layer, given)
    for item in range(BATCH):
        answer = recurrent(lstm_weights(lstm), given.knobs(item), finish=dense(readout))
        heard, before = np.abs(given.audio[item].numpy()), np.abs(given.audio_before[item, :, 0].numpy())
        expected = blockwise(given.x[item].numpy(), heard, before, answer, lookahead)
        np.testing.assert_allclose(y[item], expected, rtol=0, atol=1e-9)


def test_film():
    net, layer = make(FiLM(CONTROLS))
    given = Signals(CONTROLS)
    mean, var = torch.tensor([0.5, -2.0, 3.0]).double(), torch.tensor([0.1, 4.0, 1.0]).double()
    normal = nn.BatchNorm1d(CHANNELS, affine=False).double().eval()
    for norm, (m, v) in ((layer.norm, ("mean", "var")), (normal, ("running_mean", "running_var"))):
        getattr(norm, m).copy_(mean)
        getattr(norm, v).copy_(var)
    hidden, (last,) = only(net, nn.Linear), only(layer, nn.Linear)
    assert [m.out_features for m in hidden] == [32, 32, 32]
    y = found(net, layer, given)
    for item in range(BATCH):
        features = given.knobs(item)
        for linear in hidden:
            features = relu(dense(linear)(features))
        gamma, beta = np.split(dense(last)(features), 2)
        expected = gamma[:, None] * normal(given.x[item][None])[0].numpy() + beta[:, None]
        np.testing.assert_allclose(y[item], expected, rtol=0, atol=1e-12)


def test_film_normalises_alike_in_training_and_evaluation():
    """What sets it apart from the published net: cuts and batches change nothing while it trains."""
    net, layer = make(FiLM(CONTROLS))
    given = Signals(CONTROLS)
    assert np.array_equal(found(net.train(), layer.train(), given), found(net.eval(), layer.eval(), given))


def test_film_moves_its_statistics_when_it_absorbs():
    net, layer = make(FiLM(CONTROLS))
    given = Signals(CONTROLS)
    cond, _ = net.rest(given.audio_before, given.controls)
    _, gathered = layer.rest(given.x_before, cond)
    _, gathered = layer(given.x, cond, gathered)
    layer.absorb(gathered)
    torch.testing.assert_close(layer.norm.mean, given.x.mean((0, 2)))
    torch.testing.assert_close(layer.norm.var, given.x.var((0, 2), correction=0))


def test_who_need_not_hear_the_features_says_the_same_without_them():
    for kind in (Unconditioned, FiLM, TFiLM, TinyTFiLM, TVFiLM):
        net, layer = make(kind(CONTROLS))
        given = Signals(net.num_controls)
        cond, _ = net.rest(given.audio_before, given.controls)
        _, state = layer.rest(given.x_before, cond)
        assert layer.train().listens == (kind not in (Unconditioned, TVFiLM))
        assert layer.eval().listens == (kind in (TFiLM, TinyTFiLM))
        if not layer.listens:
            heard, unheard = layer(given.x, cond, state), layer(None, cond, state)
            torch.testing.assert_close(pytree.tree_leaves(heard), pytree.tree_leaves(unheard), rtol=0, atol=0)


def test_unconditioned_passes_features_as_they_are():
    net, layer = make(Unconditioned(CONTROLS))
    given = Signals(0)
    assert net.num_controls == 0
    assert not [*net.parameters(), *layer.parameters()]
    assert np.array_equal(found(net, layer, given), given.x.numpy())


@pytest.mark.parametrize("kind", [TFiLM, TinyTFiLM, TVFiLM])
def test_frame_size_is_the_block_one_looks_ahead_in(kind):
    assert kind().frame_size == 128  # as published
    assert kind(block_size=64).frame_size == 64
    assert kind(lookahead=False).frame_size == 1
    assert FiLM(1).frame_size == 1


@pytest.mark.parametrize("kind", [TFiLM, TinyTFiLM, TVFiLM])
@pytest.mark.parametrize("lookahead", [True, False])
def test_what_a_sample_steers(kind, lookahead):
    """With look-ahead from the start of its block on, without from the next block on (and itself)."""
    net, layer = make(kind(0, BLOCK, lookahead) if kind is not TinyTFiLM else kind(0, BLOCK, lookahead, 4, False))
    given = Signals(0)
    before = found(net, layer, given)
    n = 2 * BLOCK + 5
    given.audio[..., n] += 5
    given.x[..., n] += 5
    changed = np.abs(found(net, layer, given) - before).max((0, 1)) > 1e-12
    expected = np.arange(LENGTH) >= (2 * BLOCK if lookahead else 3 * BLOCK)
    expected[n] = True
    assert np.array_equal(changed, expected)


def test_layers_share_what_the_table_says():
    """FiLM's MLP and TVFiLM's LSTM are one for the net; TFiLM's LSTMs are one a layer."""

    def own(conditioning: Conditioning) -> tuple[int, int]:
        count = lambda m: sum(p.numel() for p in m.parameters())  # noqa: E731
        return count(conditioning), count(conditioning.modulation(16))

    def lstm(inputs: int, hidden: int) -> int:
        return 4 * hidden * (inputs + hidden + 2)

    assert own(FiLM(4)) == (4 * 32 + 32 + 2 * (32 * 32 + 32), 32 * 32 + 32)
    assert own(TFiLM(4)) == (0, lstm(16 + 4, 32))
    tiny = 16 * 4 + 4 + lstm(4 + 4, 4) + (4 * 16 + 16) + (16 * 32 + 32) + (32 * 32 + 32)
    assert own(TinyTFiLM(4)) == (0, tiny)
    assert own(TVFiLM(4)) == (lstm(1 + 4, 32), 32 * 32 + 32)


def test_float32_is_kept():
    given = Signals(CONTROLS)
    for kind in (FiLM, TFiLM, TinyTFiLM, TVFiLM):
        net = kind(CONTROLS)
        layer = net.modulation(CHANNELS)
        single: list[Tensor] = [t.float() for t in (given.audio_before, given.audio, given.x_before, given.x)]
        knobs = given.controls.float()
        cond, state = net.rest(single[0], knobs)
        _, modulation = layer.rest(single[2], cond)
        cond, _ = net.encode(single[1], knobs, state)
        held, _ = layer(single[3], cond, modulation)
        assert held.values.dtype == held.modulate(single[3]).dtype == torch.float32
