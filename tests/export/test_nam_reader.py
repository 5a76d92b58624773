"""Reading .nam files: against arithmetic worked out apart from it, against NAM's Core, and damage of all kinds."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import nablafx.effects
import nablafx.export.nam
from nablafx.export.nam import core, read_nam
from nablafx.export.streamer import Streamer, TorchEngine
from nablafx.training.build import build

from . import nam_documents as nam
from .players import NODE_MODULES, needs_node


def normalised() -> dict:
    """A ConvNet with a normalisation: its variances are positive, unlike other weights."""
    made = nam.filled("ConvNet", {**nam.CONVNET, "batchnorm": True})
    made["weights"] = np.abs(made["weights"]).tolist()
    return made


@pytest.fixture(params=nam.DOCUMENTS)
def document(request) -> dict:
    return nam.DOCUMENTS[request.param]


@pytest.fixture
def audio() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.3, 600)


def play(model, x) -> np.ndarray:
    return model.effect(torch.from_numpy(x).view(1, 1, -1))[0].detach().flatten().numpy()


def test_made_up_files_use_all_that_there_is():
    """What is compared below is the format, and not a corner of it."""
    arrays = [array for made in nam.DOCUMENTS.values() for array in made["config"].get("layers", [])]
    used = {key for array in arrays for key, value in array.items() if isinstance(value, dict) and value.get("active")}
    assert used >= {f"{name}_film" for name in nam.FILMS} | {"layer1x1", "head1x1"}
    assert {mode for array in arrays for mode in array["gating_mode"]} == {"none", "gated", "blended"}
    kinds = {json.dumps(a) for array in arrays for a in [*array["activation"], *array["secondary_activation"]]}
    assert kinds >= {json.dumps(a) for a in nam.ACTIVATIONS}
    conditions = [made["config"].get("condition_dsp", {}).get("architecture") for made in nam.DOCUMENTS.values()]
    assert {"WaveNet", "LSTM"} <= set(conditions)
    assert any(made["config"].get("head") for made in nam.DOCUMENTS.values())
    assert any(not array["layer1x1"]["active"] for array in arrays)


def test_it_plays_what_the_file_says(document, put, audio):
    model = put(document)
    model.effect.double()
    np.testing.assert_allclose(play(model, audio), nam.after_silence(document, audio), rtol=0, atol=3e-6)


def test_a_normalisation_is_part_of_a_convnet(put, audio):
    model = put(normalised())
    np.testing.assert_allclose(play(model, audio.astype("f4")), nam.after_silence(normalised(), audio), rtol=2e-4)


@needs_node
def test_the_core_plays_the_same(document, put, audio, tmp_path):
    """From the first sample on: its warm-up is our silence for ever. Its tanh is a fast one, as are its LSTM's."""
    words = json.dumps(document).replace('"Tanh"', '"Softsign"')
    model = put(json.loads(words))
    # Core 0.5.3 loses the past of a Linear when a block is larger than those before
    heard, _ = core.play(tmp_path / "file.nam", audio, 48_000, (480, 64, 7, 1), NODE_MODULES)
    ours = play(model, audio.astype("f4"))
    limit = 1e-4 if "LSTM" in words else 1e-10
    assert np.square(heard - ours).sum() < limit * np.square(ours).sum()


@needs_node
@pytest.mark.parametrize("gated", [True, False])
def test_the_core_plays_nets_of_tanh_the_same(gated, put, audio, tmp_path):
    array = {"input_size": 1, "condition_size": 1, "channels": 8, "head_size": 1, "head_bias": True, "gated": gated}
    array |= {"kernel_size": 3, "dilations": [1, 2, 4, 8, 16], "activation": "Tanh"}
    width = 2 if gated else 1
    count = 8 + 5 * (width * 8 * (8 * 3 + 2) + 8 * 8 + 8) + 8 + 1 + 1
    weights = np.random.default_rng(0).uniform(-0.3, 0.3, count).tolist()
    config = {"layers": [array], "head": None, "head_scale": 1.0}
    ours = play(put(nam.document("WaveNet", config, weights, version="0.5.4")), audio.astype("f4"))
    heard, _ = core.play(tmp_path / "file.nam", audio, 48_000, (1, 7, 64, 480), NODE_MODULES)
    assert np.square(heard - ours).sum() < 1e-4 * np.square(ours).sum()


def test_law_of_cuts_and_silence(document, put, audio):
    effect = put(document).effect.double()
    x = torch.from_numpy(audio).view(1, 1, -1)
    whole, _ = effect(x)
    state, pieces = None, []
    for piece in x.split([1, 7, 64, 480, 48], dim=-1):
        y, state = effect(piece, None, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, rtol=0, atol=1e-9)
    after, _ = effect(torch.nn.functional.pad(x, (1000, 0)))
    torch.testing.assert_close(after[..., 1000:], whole, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["wavenet-1", "convnet", "linear"])
def test_its_memory_is_what_it_says(name, put):
    effect = put(nam.DOCUMENTS[name]).effect.double()
    reach = effect.receptive_field
    assert reach > 1
    x = torch.randn(1, 1, reach + 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., 0] += 1
    before, after = effect(x)[0], effect(changed)[0]
    assert not torch.equal(before[..., :reach], after[..., :reach])
    torch.testing.assert_close(before[..., reach:], after[..., reach:], rtol=0, atol=1e-12)


def test_a_stream_of_it_has_no_latency(put, audio):
    model = put(nam.DOCUMENTS["wavenet-0"])
    streamer = Streamer(model.effect, engine=TorchEngine)
    heard = np.concatenate([streamer.process(block) for block in np.split(audio.astype("f4"), [1, 8, 72])])
    assert streamer.latency == 0
    np.testing.assert_allclose(heard, play(model, audio.astype("f4")), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [1, -1])
def test_an_lstm_begins_where_its_file_says(side, put):
    """One cell that remembers which of two rails it stood at: h = σ(9) tanh(σ(9) tanh(3 h)) has two solutions."""
    gates = [[0, 0], [0, 0], [0, 3], [0, 0]]
    weights = [*np.ravel(gates), 9, -9, 0, 9, 0.5 * side, 0.5 * side, 1, 0]
    made = nam.document("LSTM", {"input_size": 1, "hidden_size": 1, "num_layers": 1}, [float(w) for w in weights])
    expected = nam.after_silence(made, np.zeros(10))
    assert side * expected[0] > 0.5
    np.testing.assert_allclose(play(put(made), np.zeros(10, "f4")), expected, rtol=1e-5)


def test_keys_of_older_versions(put, audio):
    """A gated net as 0.5 had it, and the same in the words of 0.7."""
    old = {"input_size": 1, "condition_size": 1, "channels": 2, "head_size": 1, "head_bias": True, "gated": True}
    old |= {"kernel_size": 3, "dilations": [1, 2], "activation": "Tanh"}
    count = 2 + 2 * (4 * 2 * 3 + 4 + 4 + 4 + 2) + 3 + 1
    weights = np.random.default_rng(0).uniform(-1, 1, count).tolist()
    config = {"layers": [old], "head": None, "head_scale": 0.02}
    new = nam.random_array(nam.random.Random(0), 1, 2, 1, None)
    new |= {f"{name}_film": {"active": False} for name in nam.FILMS}
    new |= {"kernel_sizes": [3, 3], "dilations": [1, 2], "activation": ["Tanh"] * 2, "gating_mode": ["gated"] * 2}
    new |= {"secondary_activation": ["Sigmoid"] * 2, "head": {"out_channels": 1, "kernel_size": 1, "bias": True}}
    new |= {"head1x1": {"active": False, "out_channels": 1, "groups": 1}, "layer1x1": {"active": True, "groups": 1}}
    new |= {"bottleneck": 2, "groups_input": 1}
    model = put(nam.document("WaveNet", config, weights, version="0.5.4"))
    expected = nam.after_silence(nam.document("WaveNet", {**config, "layers": [new]}, weights), audio)
    np.testing.assert_allclose(play(model, audio.astype("f4")), expected, rtol=0, atol=1e-6)


def test_of_a_container_the_largest_is_read(put, audio):
    small, large = nam.DOCUMENTS["linear"], {**nam.DOCUMENTS["convnet"]}
    submodels = [{"max_value": 1.0, "model": large}, {"max_value": 0.5, "model": small}]
    container = nam.document("SlimmableContainer", {"submodels": submodels}, [])
    large["metadata"] = {"name": "The large one", "gear_type": "amp"}
    model = put(container)
    assert (model.name, model.facts) == ("The large one", {"gear_type": "amp"})
    np.testing.assert_allclose(play(model, audio.astype("f4")), nam.after_silence(large, audio), rtol=1e-4, atol=1e-5)


def test_facts_of_a_file(put):
    metadata = {"name": "Clean", "modeled_by": "A. N.", "gear_type": "amp", "gear_make": 3, "tone_type": "sour"}
    metadata |= {"input_level_dbu": 12.5, "training": {"validation_esr": 0.01}, "loudness": "loud"}
    made = {**nam.OTHERS["convnet"], "metadata": metadata, "sample_rate": 44_100.0}
    model = put(made)
    facts = {"author": "A. N.", "gear_type": "amp", "input_level_dbu": 12.5, "validation_esr": 0.01}
    assert (model.name, model.sample_rate, model.facts) == ("Clean", 44_100, facts)
    assert (model.control_names, model.effect.num_controls, model.latency) == ((), 0, 0)
    del made["metadata"], made["sample_rate"]
    model = put(made, "Deluxe.nam")
    assert (model.name, model.sample_rate, model.facts) == ("Deluxe", 48_000, {})


def test_a_description_builds_the_net_again(document, put, audio):
    model = put(document)
    name = model.description["class_path"].removeprefix("nablafx.export.nam.")
    again = getattr(nablafx.export.nam, name)(**model.description["init_args"])
    again.load_state_dict(model.effect.state_dict())
    assert "weights" not in json.dumps(model.description)
    x = torch.from_numpy(audio.astype("f4")).view(1, 1, -1)
    torch.testing.assert_close(again.eval()(x)[0], model.effect(x)[0], rtol=0, atol=0)


def test_short_names_in_configs_stay_ours():
    assert type(build("LSTM", 0)) is nablafx.effects.LSTM


STUDY = {"input_size": 1, "condition_size": 1, "head_bias": False, "gated": False, "activation": "Tanh"}
DILATIONS = [1, 3, 7, 17, 41, 101, 239]


@pytest.fixture(scope="module")
def published() -> dict[str, tuple[dict, int]]:
    """Architectures 1 and 2 of NAM, and the number of weights that their files were seen to have."""
    first = {**STUDY, "channels": 16, "head_size": 8, "kernel_size": 3, "dilations": [2**n for n in range(10)]}
    second = {**first, "input_size": 16, "channels": 8, "head_size": 1, "head_bias": True}
    made = {"A1 standard": ({"layers": [first, second], "head": None, "head_scale": 0.02}, 13_802)}
    for name, channels, count in (("A2 full", 8, 12_146), ("A2 lite", 3, 1_871)):
        array = nam.random_array(nam.random.Random(0), 1, channels, 1, None)
        array |= {f"{film}_film": {"active": False, "shift": True, "groups": 1} for film in nam.FILMS}
        array |= {"bottleneck": channels, "kernel_sizes": [6] * 14 + [15] * 2 + [6] * 7, "groups_input": 1}
        array |= {"dilations": [*DILATIONS * 2, 1, 13, *DILATIONS], "gating_mode": ["none"] * 23}
        array |= {
            "activation": [{"type": "LeakyReLU", "negative_slope": 0.01}] * 23,
            "secondary_activation": [None] * 23,
        }
        array |= {"head": {"out_channels": 1, "kernel_size": 16, "bias": True}}
        array |= {
            "head1x1": {"active": False, "out_channels": 1, "groups": 1},
            "layer1x1": {"active": True, "groups": 1},
        }
        made[name] = ({"layers": [array], "head": None, "head_scale": 0.01}, count)
    return made


@pytest.mark.parametrize("name", ["A1 standard", "A2 full", "A2 lite"])
def test_published_architectures(name, published, put):
    config, count = published[name]
    weights = np.random.default_rng(0).uniform(-0.2, 0.2, count).tolist()
    model = put(nam.document("WaveNet", config, weights))
    assert model.effect.receptive_field == (6_347 if name != "A1 standard" else 4_093)


@needs_node
@pytest.mark.parametrize("name", ["A1 standard", "A2 full", "A2 lite"])
def test_the_core_plays_published_architectures_the_same(name, published, put, audio, tmp_path):
    """Of the second one it has code of its own."""
    config, count = published[name]
    weights = np.random.default_rng(0).uniform(-0.2, 0.2, count).tolist()
    ours = play(put(nam.document("WaveNet", config, weights)), audio.astype("f4"))
    heard, _ = core.play(tmp_path / "file.nam", audio, 48_000, (1, 7, 64, 480), NODE_MODULES)
    limit = 1e-10 if name.startswith("A2") else 1e-4
    assert np.square(heard - ours).sum() < limit * np.square(ours).sum()


TRAINER = """
import sys
from pathlib import Path
import numpy as np, torch
from nam.models.conv_net import ConvNet
from nam.models.recurrent import LSTM
from nam.models.wavenet import WaveNet
folder = Path(sys.argv[1])
torch.manual_seed(0)
head = lambda n, k=1: {"out_channels": n, "kernel_size": k, "bias": True}
first = {"input_size": 1, "condition_size": 1, "channels": 8, "head": head(4), "kernel_size": 3, "dilations": [1, 2, 4]}
second = {**first, "input_size": 8, "channels": 4, "head": head(1, 3), "activation": "ReLU"}
pair = {"name": "PairMultiply", "primary": "Tanh", "secondary": "Sigmoid"}
films = {n: {"active": True, "shift": n < "h", "groups": 1} for n in ("conv_pre_film", "activation_post_film")}
steered = {**first, "channels": 4, "condition_size": 2, "head": head(1), "activation": "SiLU", "film_params": films}
condition = {"name": "WaveNet", "config": {"layers_configs": [{**first, "head": head(2), "activation": "Softsign"}]}}
post = {"channels": 3, "activation": "Tanh", "out_channels": 1, "kernel_sizes": [3, 1]}
nets = {
    "two-arrays": WaveNet.init_from_config(
        {"layers_configs": [{**first, "activation": "Tanh"}, second], "head_scale": 0.02, "sample_rate": 48000}
    ),
    "gated": WaveNet.init_from_config(
        {"layers_configs": [{**first, "head": head(1), "activation": pair}], "head": post, "sample_rate": 48000}
    ),
    "steered": WaveNet.init_from_config(
        {"layers_configs": [steered], "condition_dsp": condition, "sample_rate": 48000}
    ),
    "lstm": LSTM(8, num_layers=2, sample_rate=48000),
    "convnet": ConvNet(channels=4, dilations=[1, 2, 4, 8], batchnorm=True, activation="Tanh", sample_rate=48000),
}
x = torch.from_numpy(np.fromfile(folder / "dry.f32", np.float32))
for name, net in nets.items():
    net.eval().export(folder, basename=name)
    with torch.no_grad():
        silence = torch.zeros(48000)
        y = net(torch.cat([silence, x])[None], pad_start=name != "lstm")[0, len(silence):]
    y.numpy().astype(np.float32).tofile(folder / f"{name}.f32")
"""


@pytest.mark.slow
@pytest.mark.skipif("NABLAFX_NAM_VENV" not in os.environ, reason="NABLAFX_NAM_VENV names no environment with NAM 0.13")
def test_files_of_nams_trainer(audio, tmp_path):
    audio.astype("f4").tofile(tmp_path / "dry.f32")
    words = [Path(os.environ["NABLAFX_NAM_VENV"]) / "bin" / "python", "-c", TRAINER, tmp_path]
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    files = sorted(tmp_path.glob("*.nam"))
    assert len(files) == 5
    for file in files:
        model = read_nam(file)
        theirs = np.fromfile(file.with_suffix(".f32"), np.float32)
        error = np.square(play(model, audio.astype("f4")) - theirs).sum() / np.square(theirs).sum()
        print(f"{file.stem}: ESR {error:.1e}")
        assert error < 1e-10, file.stem
        assert model.sample_rate == 48_000
