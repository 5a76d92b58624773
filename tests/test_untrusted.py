"""Files that would run code when they are loaded carelessly, in every place where nablafx reads a file."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from nablafx.embeddings import WeightsError
from nablafx.embeddings.lookup import KINDS

from .cli import data_words, nablafx

pytestmark = [
    pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
    pytest.mark.filterwarnings("ignore:'torch.load' received a zip file that looks like a TorchScript archive"),
]


class Evil:
    """Leaves a file behind when it is unpickled by the usual means."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return Path.touch, (self.sentinel,)


def by_torch(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def by_torch_before_zip(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def by_numpy(content) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00v\x00" + pickle.dumps(content))
    return buffer.getvalue()


FORMS = {"torch": by_torch, "torch before zip": by_torch_before_zip, "pickle": pickle.dumps, "npz": by_numpy}
YAML = "model: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.PosixPath [{sentinel}]]\n"


@pytest.fixture
def sentinel(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sentinel"


@pytest.fixture
def evil(sentinel) -> bytes:
    """A file that is a state dict for all who unpickle it, and more."""
    return by_torch({"state_dict": {"effect.weight": Evil(sentinel)}, "epoch": 0})


@pytest.fixture
def run(two_runs, tmp_path) -> Path:
    """A run of its own: a chain, trained and tested."""
    (found,) = (path for path in two_runs.rglob("version_0") if "graybox" in str(path))
    return Path(shutil.copytree(found, tmp_path / "run"))


def refuses(sentinel: Path, *words: object) -> str:
    """What a command answers that must neither do this nor break down."""
    done = nablafx(*words)
    assert not sentinel.exists()
    assert done.status == 1, done.out
    assert done.err.startswith(f"nablafx {words[0]}: ")
    assert "Traceback" not in done.err
    return done.err


OF_RUN = {
    "validate": ["validate", "-c", "run/config.yaml"],
    "test": ["test", "-c", "run/config.yaml"],
    "predict": ["predict", "-c", "run/config.yaml"],
    "resume": ["fit", "-c", "run/config.yaml", "--ckpt_path", "last"],
    "process": ["process", "run", "x.wav", "y.wav"],
    "export": ["export", "run", "--format", "bundle"],
    "report": ["report", "run"],
    "plot": ["plot", "run", "--figures", "response"],
    "benchmark": ["benchmark", "run"],
    "demo": ["demo", "run"],
}


@pytest.mark.parametrize("words", OF_RUN.values(), ids=list(OF_RUN))
def test_checkpoints_of_a_run(words, evil, run, sentinel):
    for name in ("best", "last"):
        (run / "checkpoints" / f"{name}.ckpt").write_bytes(evil)
    assert ".ckpt cannot be read" in refuses(sentinel, *words)


def test_compare_reads_no_checkpoint(evil, run, sentinel):
    (run / "checkpoints/best.ckpt").write_bytes(evil)
    assert nablafx("compare", "run").status == 0
    assert not sentinel.exists()


@pytest.mark.parametrize("words", OF_RUN.values(), ids=list(OF_RUN))
def test_configs_of_a_run(words, run, sentinel):
    (run / "config.yaml").write_text(YAML.format(sentinel=sentinel))
    refuses(sentinel, *words)


@pytest.mark.parametrize("file", ["run.json", "metrics.csv", "config.yaml"])
@pytest.mark.parametrize("command", ["compare", "report"])
def test_notes_of_a_run(command, file, evil, run, sentinel):
    (run / file).write_bytes(evil)
    refuses(sentinel, command, "run")


@pytest.mark.parametrize("command", ["process", "export", "benchmark", "demo"])
@pytest.mark.parametrize("name", ["x.nablafx", "x.nam", "x.ckpt"])
def test_models_in_one_file(command, name, evil, sentinel):
    Path(name).write_bytes(evil)
    words = {"process": ["x.wav", "y.wav"], "export": ["--format", "onnx"]}.get(command, [])
    refuses(sentinel, command, name, *words)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
def test_pretrained_weights(name, evil, knobless, sentinel):
    Path(name).write_bytes(evil)
    curve = f'{{"class_path": "StaticMLPNonlinearity", "init_args": {{"pretrained": "{name}"}}}}'
    effect = f'{{"class_path": "GrayBox", "init_args": {{"stages": {{"a": {{"processor": {curve}}}}}}}}}'
    refuses(sentinel, "fit", *data_words(knobless), "--model.effect", effect, "--log_root", "logs")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if hasattr(kind, "file")], ids=lambda kind: kind.name)
def test_weights_of_embeddings(kind, evil, sentinel):
    files = [kind.file]
    if kind.name == "clap":
        names = ("config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")
        files = [f"{kind.file}/{name}" for name in names]
        Path(kind.file).mkdir()
    for file in files:
        Path(file).write_bytes(evil)
    with pytest.raises(WeightsError, match="cannot be read"):
        kind.load(Path())
    assert not sentinel.exists()


def test_files_of_the_published_framework(evil, sentinel):
    Path("old.ckpt").write_bytes(evil)
    Path("old.yaml").write_text(YAML.format(sentinel=sentinel))
    Path("good.yaml").write_text("model: {}\n")
    refuses(sentinel, "convert", "old.ckpt", "-c", "good.yaml", "-o", "new")
    refuses(sentinel, "convert", "old.ckpt", "-c", "old.yaml", "-o", "new")
    refuses(sentinel, "convert", "old.yaml")


@pytest.mark.parametrize(
    "words",
    [
        ["process", "run", "evil.wav", "out.wav"],
        ["export", "run", "--format", "bundle", "--audio", "evil.wav"],
        ["demo", "run", "--riff", "evil.wav"],
        ["pretrain", "fir", "evil.wav"],
    ],
    ids=lambda words: words[0],
)
def test_audio(words, evil, run, sentinel):
    Path("evil.wav").write_bytes(evil)
    refuses(sentinel, *words)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_form_of_the_attack_is_a_real_one_and_refused(form, run, sentinel):
    data = form({"state_dict": {"effect.weight": Evil(sentinel)}})
    (run / "checkpoints/best.ckpt").write_bytes(data)
    refuses(sentinel, *OF_RUN["process"])
    if form is pickle.dumps:
        pickle.loads(data)
    elif form is by_numpy:
        pickle.loads(zipfile.ZipFile(io.BytesIO(data)).read("a.npy")[10:])
    else:
        torch.load(io.BytesIO(data), weights_only=False)
    assert sentinel.exists()
