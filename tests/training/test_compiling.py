"""Training through torch.compile. Oracle: the same training without."""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext

import pytest
import torch

from nablafx.effects import TCN
from nablafx.training import compiling
from nablafx.training.callbacks import ProgressBar

from .small import data, lstm, system, trainer


@pytest.fixture
def demo(knobbed):
    return knobbed


@pytest.fixture
def graphs(monkeypatch):
    """The inputs' lengths of the graphs that were compiled, by a compiler that runs them as they are."""
    lengths: list[set[int]] = []

    def backend(graph, inputs):
        lengths.append({t.shape[-1] for t in inputs if isinstance(t, torch.Tensor) and t.dim() == 3})
        return graph.forward

    monkeypatch.setattr(compiling, "BACKEND", backend)
    torch.compiler.reset()
    yield lengths
    torch.compiler.reset()


def trained(demo, folder, effect=None, callbacks=(), epochs=1, **kwargs):
    model = system(effect, **kwargs)
    run = trainer(folder, max_epochs=epochs, limit_train_batches=3, callbacks=list(callbacks))
    run.fit(model, data(demo))
    return model, run


def assert_alike(model, twin, tolerance):
    assert list(model.state_dict()) == list(twin.state_dict())
    for (name, a), b in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("make", [None, lstm], ids=["TCN", "LSTM"])
def test_weights_and_their_names_are_those_of_training_without(demo, tmp_path, graphs, make, monkeypatch):
    """Pieces of 1,280 samples, and a rest of 2,240 that is not worth a graph. In plain torch, as graphs are."""
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    model, _ = trained(demo, tmp_path, make, compile=True, tbptt_samples=1280)
    assert graphs
    assert not any(2240 in lengths for lengths in graphs)
    twin, _ = trained(demo, tmp_path, make, tbptt_samples=1280)
    assert_alike(model, twin, 1e-5)
    x, controls = torch.randn(1, 1, 3000), torch.rand(1, 2)
    torch.testing.assert_close(model.render(x, controls), twin.render(x, controls))


def test_only_fit_compiles(demo, tmp_path, graphs):
    model = system(compile=True).eval()
    trainer(tmp_path).validate(model, data(demo), verbose=False)
    trainer(tmp_path).test(model, data(demo), verbose=False)
    assert graphs == []


def test_what_cannot_be_compiled_is_told_once_and_trained_as_it_is(demo, tmp_path, monkeypatch):
    def broken(graph, inputs):
        raise FileNotFoundError("no C++ compiler")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, _ = trained(demo, tmp_path, compile=True)
    told = [str(w.message) for w in caught if "model.compile" in str(w.message)]
    assert len(told) == 1
    assert "TCN cannot be compiled here, and is trained as it is" in told[0]
    assert "no C++ compiler" in told[0]
    assert_alike(model, trained(demo, tmp_path)[0], 0.0)


def test_an_error_of_the_effect_is_its_own(graphs):
    run = compiling.CompiledEffect(TCN(num_blocks=1, channel_width=2), lambda what: nullcontext())
    with pytest.raises(ValueError, match="x must be"):
        run(torch.zeros(2, 100))


@pytest.mark.parametrize("terminal", [False, True])
def test_the_bar_says_what_is_waited_for(demo, tmp_path, graphs, monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    model = system(compile=True)
    run = trainer(tmp_path, max_epochs=1, callbacks=[ProgressBar(refresh_rate=1)], enable_progress_bar=True)
    run.fit(model, data(demo))
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("compiling …") >= 1
    assert not terminal or "Epoch 0" in (shown.out + shown.err).rpartition("compiling …")[2]


@pytest.mark.slow
def test_a_real_compiler_gives_the_same_outputs_and_gradients():
    torch.compiler.reset()
    effect = TCN(num_blocks=2, channel_width=4, direct_path=True)
    x, state, results = torch.randn(2, 1, 700), None, []
    for run in (effect, compiling.CompiledEffect(effect, lambda what: nullcontext())):
        state, outputs = None, []
        for piece in x.split(350, -1):
            y, state = run(piece, None, state)
            outputs.append(y)
        y = torch.cat(outputs, -1)
        results.append((y.detach(), torch.autograd.grad(y.square().sum(), list(effect.parameters()))))
    (y, gradients), (want, wanted) = results
    torch.testing.assert_close(y, want, rtol=1e-5, atol=1e-6)
    for a, b in zip(gradients, wanted, strict=True):
        assert (a - b).abs().max() < 1e-4 * b.abs().max()
