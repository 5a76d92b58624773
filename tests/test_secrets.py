"""What stands in .env and in the shell is in no file that a run leaves, and in nothing that it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from nablafx.export.demo_runtime import find_runtime
from tests.published.cases import black_box
from tests.readback import wandb_records

from .cli import config, data_words, nablafx
from .conftest import ROOT

KEY = "feedc0defeedc0defeedc0defeedc0defeedc0de"
SECRETS = {"WANDB_API_KEY": KEY, "TOKEN_OF_MINE": "hush-77aa-dot-env"}
OF_SHELL = "hush-88bb-of-the-shell"
OF_GIT = "hush-99cc-in-an-address"
HIDDEN = [*SECRETS.values(), OF_SHELL, OF_GIT]
# names of tensors and files may be stored forwards only, but some writers take two bytes a letter
FORMS = [form for text in HIDDEN for form in (text.encode(), text.encode("utf-16-le"))]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with secrets in every place that a user may have them."""
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()) + "LOG_ROOT=logs\n")
    for name in ("WANDB_API_KEY", "LOG_ROOT", "WANDB_MODE"):
        monkeypatch.setenv(name, "")  # restored afterwards, also where .env sets it
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OF_SHELL)
    for words in (["init", "-q"], ["remote", "add", "origin", f"https://{OF_GIT}@example.org/x.git"]):
        subprocess.run(["git", *words], check=True)
    return tmp_path


def leaks(folder: Path) -> list[str]:
    """Files that hold a secret, within archives too."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file() or path == folder / ".env" or ".git" in path.parts:
            continue
        contents = {str(path): path.read_bytes()}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents |= {f"{path}:{name}": archive.read(name) for name in archive.namelist()}
        found += [name for name, data in contents.items() if any(form in data for form in FORMS)]
    return found


def commands(demo, run: Path) -> list[list[object]]:
    base = [*config(ROOT, "trainer/smoke", "trainer/logger/wandb"), *data_words(demo), "--model.effect", "LSTM"]
    base += ["--model.effect.init_args.hidden_size", "4", "--trainer.limit_train_batches", "1"]
    exports = [["export", run, "--format", name, "--seconds", "0.5"] for name in ("bundle", "onnx", "nam")]
    return [
        ["fit", *base],
        ["fit", *base, "--print_config"],
        ["test", "-c", run / "config.yaml"],
        ["predict", "-c", run / "config.yaml"],
        ["process", run, Path(demo.dry) / "test", "processed"],
        *exports,
        ["report", run, "--seconds", "0.3"],
        ["compare", run, "--output", "."],
        ["plot", run, "--figures", "history,response"],
        ["benchmark", run, "--output", "benchmark", "--paths", "eager"],
        *([["demo", run]] if find_runtime() else []),
        ["convert", "old.yaml", "-o", "new.yaml"],
        # and those that go wrong
        ["test", "-c", run / "config.yaml", "--ckpt_path", "none.ckpt"],
        ["fit", *base, "--model.lrr", "1"],
        ["fit", *base, "--data.dry", "nowhere"],
    ]


def test_a_whole_run_keeps_secrets(place, knobless):
    Path("old.yaml").write_text(yaml.safe_dump({"model": black_box("LSTM", {"hidden_size": 4, "residual": True})}))
    run = Path("logs/smoke/version_0")
    told = ""
    for words in commands(knobless, run):
        try:
            done = nablafx(*words)
        except SystemExit:
            assert "--print_config" in words
        else:
            wrong = any(word in ("none.ckpt", "--model.lrr", "nowhere") for word in words)
            assert done.status == (1 if wrong else 0), (words, done.err)
            told += done.out + done.err
    assert os.environ["WANDB_API_KEY"] == KEY, ".env was read"
    assert "TOKEN_OF_MINE" in told
    for secret in HIDDEN:
        assert secret not in told
    kinds = {path.suffix for path in place.rglob("*")}
    assert {".wandb", ".ckpt", ".nablafx", ".onnx", ".nam", ".html", ".csv", ".json", ".yaml", ".log"} <= kinds
    assert leaks(place) == []
    # nor do addresses of repositories and code reach W&B, which look like no secret
    records = [record for path in run.rglob("*.wandb") for record in wandb_records(path)]
    begun = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert begun
    assert not any(run.git.remote_url for run in begun)
    assert not list(run.rglob("*.py"))


def test_a_leak_is_seen(tmp_path):
    (tmp_path / "plain.log").write_text(f"key={KEY}")
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", KEY * 20)
    shutil.copy(tmp_path / "plain.log", tmp_path / "copy.bin")
    assert len(leaks(tmp_path)) == 3
