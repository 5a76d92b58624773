"""Embeddings against what the published networks answered (record.py); weights that are not there are told of."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from nablafx.embeddings import EMBEDDINGS, EmbeddingError, load_embedding
from nablafx.embeddings.afx_rep import AFxRep
from nablafx.embeddings.mel import MelStatistics, mel_filters, mel_of
from nablafx.embeddings.panns import Cnn14
from nablafx.embeddings.vggish import VGGish

from .seeded import front, seeded, sound

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_EMBEDDINGS", str(tmp_path))
    return tmp_path


def shapes(network):
    return {key: tuple(value.shape) for key, value in network.state_dict().items() if value.is_floating_point()}


def test_vggish_is_the_published_one(folder):
    torch.save(seeded(shapes(VGGish().network)), folder / "vggish-10086976.pth")
    network = load_embedding("vggish")
    audio = sound(32_000, 16_000)
    heard = network(audio, 16_000)
    assert heard.shape == (2, 128)
    recorded = RECORDED["vggish"]
    log_mel = network.log_mel(audio.unfold(0, network.window, network.hop))[1, ::19, ::9]
    np.testing.assert_allclose(log_mel.flatten(), recorded["log_mel"], atol=2e-4)
    wanted = np.array(recorded["embedding"])
    np.testing.assert_allclose(heard.flatten(), wanted, atol=2e-4 * np.abs(wanted).max())


def test_panns_are_the_published_ones(folder):
    weights = {**seeded(shapes(Cnn14().network)), **front(1024, 64)}
    torch.save({"iteration": 1, "model": weights}, folder / "Cnn14_mAP=0.431.pth")
    network = load_embedding("panns")
    first, second = sound(32_000, 32_000), 0.1 * sound(48_000, 32_000)[16_000:]
    heard = torch.cat([network(first, 32_000), network(second, 32_000)])
    assert heard.shape == (2, 2048)
    wanted = np.array(RECORDED["panns"]["embedding"])
    np.testing.assert_allclose(heard[:, ::16].flatten(), wanted, atol=2e-4 * np.abs(wanted).max())


def afx_rep(folder, **encoder):
    """The files of a small AFx-Rep, as they are published."""
    given = {"embed_dim": 32, "window_size": 256, "hop_size": 1200, "mel_bins": 32, "use_batchnorm": True, **encoder}
    network = AFxRep(**given).network
    weights = {**seeded(shapes(network)), **front(256, 32)}
    state = {f"encoder.{key}": value for key, value in weights.items()} | {"projector.weight": torch.ones(2)}
    (folder / "afx-rep").mkdir()
    torch.save({"epoch": 3, "state_dict": state}, folder / "afx-rep/afx-rep.ckpt")
    extra = {"sample_rate": 48_000, "fmin": 20.0, "fmax": 24_000.0}
    section = {"class_path": "lcap.models.panns.Cnn14", "init_args": {**given, **extra}}
    (folder / "afx-rep/config.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"encoder": section}}}))
    return network


@pytest.mark.parametrize("input_norm", ["batchnorm", "minmax", "none"])
def test_afx_rep_hears_effects_and_no_level(folder, input_norm):
    afx_rep(folder, input_norm=input_norm)
    network = load_embedding("afx-rep")
    audio = sound(240_000, 48_000)
    heard = network(audio, 48_000)
    assert heard.shape == (1, 32)
    assert float(heard.norm()) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(network(0.3 * audio, 48_000), heard, atol=1e-5, rtol=0)
    assert not torch.allclose(network(torch.tanh(8 * audio), 48_000), heard, atol=1e-3)


def test_clap_is_that_of_transformers(folder):
    transformers = pytest.importorskip("transformers", reason="pip install 'nablafx[clap]'")
    small = transformers.ClapAudioConfig(
        depths=[1, 1], num_attention_heads=[1, 2], hidden_size=32, patch_embeds_hidden_size=16
    )
    model = transformers.ClapAudioModelWithProjection(small).eval()
    extractor = transformers.ClapFeatureExtractor(truncation="rand_trunc")
    model.save_pretrained(folder / "clap-htsat-unfused")
    extractor.save_pretrained(folder / "clap-htsat-unfused")
    audio = sound(480_000, 48_000)
    heard = load_embedding("clap")(audio, 48_000)
    with torch.no_grad():
        inputs = extractor(audio.numpy(), sampling_rate=48_000, return_tensors="pt")
        wanted = torch.nn.functional.normalize(model(**inputs).audio_embeds, dim=-1)
    torch.testing.assert_close(heard.float(), wanted, atol=1e-5, rtol=0)


PLACES = {
    "vggish": "vggish-10086976.pth",
    "panns": "Cnn14_mAP=0.431.pth",
    "clap": "clap-htsat-unfused",
    "afx-rep": "afx-rep/afx-rep.ckpt",
}


@pytest.mark.parametrize("name", [name for name in EMBEDDINGS if name != "mel"])
def test_missing_weights_are_named_with_their_source(folder, name):
    with pytest.raises(EmbeddingError, match="nothing is downloaded unasked") as told:
        load_embedding(name)
    assert str(folder / PLACES[name]) in str(told.value)
    assert "https://" in str(told.value)


class Planted:
    def __reduce__(self):
        return (Path.touch, (Path("planted"),))


@pytest.mark.parametrize("name", ["vggish", "panns", "afx-rep"])
@pytest.mark.parametrize("content", ["damaged", "foreign", "code"])
def test_files_that_are_no_weights_are_refused(folder, monkeypatch, name, content):
    monkeypatch.chdir(folder)
    if name == "afx-rep":
        afx_rep(folder)
    path = folder / PLACES[name]
    if content == "damaged":
        path.write_bytes(b"no checkpoint")
    else:
        tensors = Planted() if content == "code" else {"x": torch.ones(2), "encoder.x": torch.ones(2)}
        torch.save({"model": tensors, "state_dict": tensors, "y": torch.ones(1)}, path)
    with pytest.raises(EmbeddingError, match=r"get it anew|holds no tensors"):
        load_embedding(name)
    assert not (folder / "planted").exists()


def test_a_config_of_something_else_is_refused(folder):
    afx_rep(folder)
    (folder / "afx-rep/config.yaml").write_text("model: {}")
    with pytest.raises(EmbeddingError, match=r"is not the config\.yaml of AFx-Rep"):
        load_embedding("afx-rep")


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(EmbeddingError, match="no embedding vgish; did you mean vggish"):
        load_embedding("vgish")


def test_mel_levels_are_those_of_a_sine():
    """A band moves by as many dB as the sine in it does, and not while the sine stays."""
    network = MelStatistics()
    time = torch.arange(96_000) / 48_000
    loud = network((2 * torch.pi * 1000 * time).sin(), 48_000)
    soft = network(0.1 * (2 * torch.pi * 1000 * time).sin(), 48_000)
    assert loud.shape == (3, 64)
    band = int(loud[0, :32].argmax())
    assert float((loud - soft)[0, band]) == pytest.approx(20, abs=0.01)
    assert loud[:, 32 + band].max() < 0.01  # it stays
    silence = network(torch.zeros(100), 48_000)  # shorter than a window
    np.testing.assert_allclose(silence, [[*32 * [-80.0], *32 * [0.0]]], atol=1e-4)


def test_mel_filters_are_triangles_on_the_mel_scale():
    filters = mel_filters(16_000, 512, 64, 125.0, 7500.0)
    edges = np.linspace(mel_of(125.0), mel_of(7500.0), 66)
    for k in (0, 31, 63):
        mels = np.array([mel_of(hz) for hz in np.linspace(0, 8000, 257)])
        wanted = np.interp(mels, edges[k : k + 3], [0, 1, 0])
        wanted[0] = 0
        np.testing.assert_allclose(filters[:, k], wanted, atol=1e-12)


@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_other_rates_are_resampled(rate):
    network = MelStatistics()
    tone = [(2 * torch.pi * 1000 * torch.arange(2 * r) / r).sin() for r in (48_000, rate)]
    here, there = network(tone[0], 48_000), network(tone[1], rate)
    bands = here[0, :32] > -60
    torch.testing.assert_close(there[1, :32][bands], here[1, :32][bands], atol=0.05, rtol=0)


def test_nothing_heavy_comes_with_them():
    import subprocess

    code = "import sys, nablafx.embeddings; print({'transformers', 'scipy', 'librosa'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
