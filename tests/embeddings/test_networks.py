"""Trained networks with made-up weights: what they give against recordings of other packages, and strict files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nablafx.embeddings import AfxRep, Clap, Panns16k, Panns32k, UnknownEmbeddingError, VGGish, WeightsError, embedding
from nablafx.embeddings.cnn14 import FOURIER, Cnn14
from nablafx.embeddings.panns import Panns
from tests.conftest import ROOT
from tests.embeddings.made import audio, fill

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
PACKAGES = ["torch==2.13.0", "torchvggish==0.2", "torchlibrosa==0.1.0", "panns-inference==0.1.1", "transformers>=5,<6"]
PACKAGES += ["setuptools", "soundfile", "matplotlib", "soxr"]
SMALL = (4, 4, 4, 4, 4, 8)


def some(values: torch.Tensor) -> torch.Tensor:
    flat = values.flatten()
    return flat[:: max(len(flat) // 100, 1)]


def ours() -> dict[str, dict[str, torch.Tensor]]:
    """What record.py makes of the other packages."""
    made = {}
    for kind, samples in ((VGGish, 48_000), (Panns16k, 160_000), (Panns32k, 320_000), (AfxRep, 2**18)):
        network, x = fill(kind()), audio(samples)
        windows = x.unfold(-1, network.window, network.hop)[0]
        picture = (network.spectrogram if kind is VGGish else network.levels)(windows)
        made[network.name] = {"spectrogram": some(picture), "embedding": some(network(x))}
    return made


def check_alike(theirs: dict[str, dict[str, list[float]]]) -> None:
    mine = ours()
    for name, parts in theirs.items():
        for part, values in parts.items():
            expected = torch.tensor(values)
            # of the largest value; theirs have a Fourier transform of float32 convolutions
            tolerance = {"spectrogram": 2e-5, "embedding": 1e-4}[part] * float(expected.abs().max())
            np.testing.assert_allclose(mine[name][part], expected, rtol=0, atol=tolerance, err_msg=f"{name} {part}")


def test_networks_give_what_was_recorded():
    check_alike(json.loads(RECORDED.read_text()))


@pytest.mark.slow  # installs other packages
@pytest.mark.timeout(1800)
def test_networks_give_what_their_packages_give(tmp_path):
    python = os.environ.get("NABLAFX_EMBEDDINGS_PYTHON")
    if not python:
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
        python = str(tmp_path / "environment" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True)
    # panns-inference would download the names of its tags
    (tmp_path / "panns_data").mkdir()
    (tmp_path / "panns_data" / "class_labels_indices.csv").write_text("index,mid,display_name\n")
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    words = [python, HERE / "record.py", tmp_path / "new.json"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    check_alike(json.loads((tmp_path / "new.json").read_text()))
    assert float(done.stdout.splitlines()[-1]) < 1e-5


def test_afx_rep_has_as_many_weights_as_the_published_one():
    network = AfxRep()
    count = sum(weight.numel() for weight in network.parameters()) + network.logmel_extractor.melW.numel()
    # the Fourier transform counts among its 81,905,344
    assert count + 2 * 1025 * 2048 == 81_905_344


def test_afx_rep_hears_no_level_and_gives_vectors_of_length_one():
    network, x = fill(AfxRep(SMALL)), audio(2**18 + 2**17)
    vectors = network(x)
    assert vectors.shape == (1, 2, 512)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(1, 2))
    torch.testing.assert_close(network(0.01 * x), vectors, rtol=0, atol=1e-4)
    assert network(torch.zeros(1, 10)).isfinite().all()


@pytest.fixture
def small(monkeypatch):
    """Networks with few channels, whose files are small."""
    for kind in (Panns, AfxRep):
        monkeypatch.setattr(kind.__init__, "__defaults__", (SMALL,))


def save(network: Cnn14, path: Path, prefix: str = "", **changed: object) -> dict:
    """A file as the authors have them: with the Fourier transform, and more beside the weights."""
    weights = {prefix + key: value for key, value in network.state_dict().items()}
    weights |= {prefix + name: torch.zeros(network.fft // 2 + 1, 1, network.fft) for name in FOURIER}
    weights |= {"head.weight": torch.zeros(3)} if prefix else {}
    weights = {key: value for key, value in {**weights, **changed}.items() if value is not None}
    key = "state_dict" if prefix else "model"
    torch.save({"iteration": 5, "sampler": {"indexes": np.arange(4)}, key: weights}, path)
    return weights


@pytest.mark.parametrize(("kind", "prefix"), [(Panns16k, ""), (Panns32k, ""), (AfxRep, "encoder.")])
def test_files_of_the_authors_form_are_read(kind, prefix, small, tmp_path, monkeypatch):
    network = fill(kind())
    save(network, tmp_path / kind.file, prefix)
    monkeypatch.setenv("NABLAFX_EMBEDDINGS", str(tmp_path))
    loaded = embedding(kind.name)
    assert not loaded.training
    x = audio(20_000)
    assert loaded(x).shape == (1, 1, 8 if prefix == "" else 512)
    assert torch.equal(loaded(x), network(x))


def test_vggish_is_read_from_its_file(tmp_path):
    network = fill(VGGish())
    names = set(network.state_dict())
    assert names == {f"{part}.{kind}" for part in LAYERS for kind in ("weight", "bias")}
    torch.save(network.state_dict(), tmp_path / VGGish.file)
    x = audio(16_000)
    assert torch.equal(embedding("vggish", tmp_path)(x), network(x))


LAYERS = [*(f"features.{k}" for k in (0, 3, 6, 8, 11, 13)), *(f"embeddings.{k}" for k in (0, 2, 4))]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"fc1.bias": None}, "fc1.bias: absent there, \\(8,\\) here"),
        ({"fc2.bias": torch.zeros(3)}, "fc2.bias: \\(3,\\) there, absent here"),
        ({"fc1.bias": torch.zeros(3)}, "fc1.bias: \\(3,\\) there, \\(8,\\) here"),
        ({"fc1.bias": torch.full((8,), torch.nan)}, "holds values that are no numbers, in fc1.bias"),
        ({"fc1.bias": "text"}, "has no weights under 'model': it holds iteration, sampler, model"),
    ],
)
def test_other_weights_are_refused(changed, told, small, tmp_path):
    save(Panns16k(), tmp_path / Panns16k.file, **changed)
    with pytest.raises(WeightsError, match=told) as error:
        embedding("panns_16k", tmp_path)
    assert str(tmp_path / Panns16k.file) in str(error.value)
    assert "zenodo.org" in str(error.value)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    "content", [Evil(), {"model": {}, "x": Evil()}, b"no checkpoint", [1, 2]], ids=["code", "beside", "text", "list"]
)
def test_files_that_run_code_or_are_damaged_are_refused(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / VGGish.file
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=r"cannot be read|no weights by name"):
        embedding("vggish", tmp_path)
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("name", "file", "url"),
    [
        ("vggish", "vggish-10086976.pth", "https://github.com/harritaylor/torchvggish/releases"),
        ("panns_16k", "Cnn14_16k_mAP=0.438.pth", "https://zenodo.org/records/3987831/files/Cnn14_16k"),
        ("panns_32k", "Cnn14_mAP=0.431.pth", "https://zenodo.org/records/3987831/files/Cnn14_mAP"),
        ("clap", "clap-htsat-unfused", "https://huggingface.co/laion/clap-htsat-unfused"),
        ("afx_rep", "afx-rep.ckpt", "https://huggingface.co/csteinmetz1/afx-rep/resolve/main/afx-rep.ckpt"),
    ],
)
def test_a_missing_file_is_told_with_where_to_get_it_and_where_to_put_it(name, file, url, tmp_path):
    with pytest.raises(WeightsError, match=f"the embedding {name} needs weights") as error:
        embedding(name, tmp_path)
    told = str(error.value)
    assert f"there is no {tmp_path / file}" in told
    assert url in told
    assert "$NABLAFX_EMBEDDINGS" in told


def test_a_wrong_name_is_told_with_the_nearest():
    with pytest.raises(UnknownEmbeddingError, match=r"no embedding 'vgish'; there are mel, vggish, .*mean 'vggish'\?"):
        embedding("vgish")
    assert embedding("mel", "/nowhere").name == "mel"


class Network(torch.nn.Module):
    """Stands in for transformers' network: says what it was asked."""

    config = SimpleNamespace(projection_dim=3)

    def forward(self, input_features, is_longer):
        assert not is_longer.any()
        return SimpleNamespace(audio_embeds=input_features.mean(dim=(1, 2))[:, None] * torch.tensor([3.0, 0.0, 4.0]))


class Extractor:
    sampling_rate, nb_max_samples = 48_000, 480_000

    def __call__(self, audio, sampling_rate, return_tensors):
        assert (sampling_rate, return_tensors) == (48_000, "pt")
        assert {len(part) for part in audio} == {480_000}
        return {"input_features": torch.ones(len(audio), 1, 5)}


def test_clap_gives_every_second_a_vector_of_length_one():
    vectors = Clap(Network(), Extractor())(audio(12 * 48_000))
    torch.testing.assert_close(vectors, torch.tensor([0.6, 0.0, 0.8]).expand(1, 3, 3))


def test_clap_names_the_file_or_package_that_is_missing(tmp_path, monkeypatch):
    folder = tmp_path / Clap.file
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
        embedding("clap", tmp_path)
    for file in ("preprocessor_config.json", "model.safetensors"):
        (folder / file).write_text("{}")
    monkeypatch.setattr("nablafx.embeddings.clap.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install 'nablafx\[clap\]'"):
        embedding("clap", tmp_path)
