"""Checkpoints, pre-trained weights and weights of embeddings: the right container with the wrong content."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from nablafx.embeddings.files import fill, read
from nablafx.layers.pretrained import load_pretrained, save_pretrained
from nablafx.training.load import load

from ..cli import nablafx
from ..data.layout import write_set
from .faults import TEXTS, VALUES, altered, damaged
from .harness import budget, search, told_by, told_by_command


def strange_tensors(good: torch.Tensor) -> list[object]:
    """Of its shape or not, all of a kind that no weight is."""
    shape = good.shape
    return [
        good.double(),
        good.half(),
        good.bool(),
        good.to(torch.complex64),
        good.to(torch.float8_e5m2),
        torch.quantize_per_tensor(good.float(), 0.1, 0, torch.qint8),
        good.to_sparse(),
        good.to("meta"),
        torch.full(shape, float("nan")),
        torch.zeros(()).expand(2**40),  # a number seen a million million times
        torch.zeros(1).expand(*shape, 2**30),
        torch.empty(0).expand(2**40, 0),
        torch.zeros(8).as_strided((2,), (3,)),
        torch.nn.Parameter(good.float()),
        good.flatten(),
        np.zeros(3),
        "weights",
        None,
        1,
        [good],
    ]


def rewritten(content: bytes, part: bytes) -> bytes:
    """A checkpoint's zip with another pickle in it, whose checksum is right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, part if name.endswith("data.pkl") else old.read(name))
    return out.getvalue()


def pickle_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return next(file.read(name) for name in file.namelist() if name.endswith("data.pkl"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one step: its checkpoint, and the words to go on with it."""
    root = tmp_path_factory.mktemp("trained")
    dry, wet = write_set(root, {"a": 8960, "b": 4720}, settings=())
    config = {
        "data": {"dry": str(dry), "wet": str(wet), "segment_length": 1200, "batch_size": 2, "sample_rate": 8000},
        "model": {"effect": {"class_path": "LSTM", "init_args": {"hidden_size": 4}}, "loss": "WeightedSum"},
        "media": {"log_media_every_n_steps": 0},
        "fad": {"embeddings": []},
        "trainer": {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False},
    }
    config["model"]["loss"] = {"class_path": "WeightedSum", "init_args": {"terms": {"esr": {"loss": "ESRLoss"}}}}
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    words = ["-c", root / "config.yaml", "--log_root", root / "logs", "--name", "a/b/c"]
    done = nablafx("fit", *words)
    assert done.status == 0, done.err
    folder = root / "logs" / "a" / "b" / "c" / "version_0"
    return folder / "checkpoints" / "last.ckpt", words


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@budget(12, 1000)
def test_weights_of_a_run(cases, trained):
    path = trained[0]
    good = path.read_bytes()
    content = torch.load(path, weights_only=True)
    names = [*content["state_dict"], "effect.other", "other", 1]
    strange = strange_tensors(content["state_dict"]["effect.linear.weight"])

    def check(case) -> None:
        if isinstance(case, bytes):
            path.write_bytes(rewritten(good, case))
        else:
            name, number = case
            path.write_bytes(saved({**content, "state_dict": {**content["state_dict"], name: strange[number]}}))
        told_by(load, path)

    try:
        faults = st.tuples(st.sampled_from(names), st.integers(0, len(strange) - 1))
        search(cases, faults | damaged(pickle_of(good), 3000), check)
    finally:
        path.write_bytes(good)


@budget(2, 300)
def test_the_state_that_a_fit_goes_on_from(cases, trained, tmp_path):
    path, words = trained
    content = torch.load(path, weights_only=True)
    plain = {key: value for key, value in content.items() if key != "state_dict"}
    hurt = tmp_path / "hurt.ckpt"

    def check(made) -> None:
        # no batches: counters that are altered would train for ever
        if isinstance(made, dict):
            made = {**made, "state_dict": content["state_dict"]}
        hurt.write_bytes(saved(made))
        told_by_command("fit", *words, "--ckpt_path", hurt, "--trainer.limit_train_batches", 0)

    search(cases, altered(plain), check)


@budget(40, 3000)
def test_pretrained_weights(cases, tmp_path):
    module, path = nn.Linear(2, 3), tmp_path / "w.safetensors"
    facts = {"kind": "tanh", "w0": 30.0}
    save_pretrained(module, path, facts)
    good = path.read_bytes()
    assert told_by(load_pretrained, module, path, facts) is None
    kinds = [torch.float8_e5m2, torch.complex64, torch.bool, torch.int64, torch.float64, torch.bfloat16]

    def other(kind: torch.dtype) -> bytes:
        tensors = {name: value.to(kind) for name, value in module.state_dict().items()}
        return save(tensors, {"nablafx": json.dumps(facts)})

    def header(told: str) -> bytes:
        return save(module.state_dict(), {"nablafx": told})

    def check(content: bytes) -> None:
        path.write_bytes(content)
        told_by(load_pretrained, module, path, facts)

    headers = st.sampled_from([*TEXTS[:14], "9" * 5000, "[" * 100_000, "NaN", "null"]) | VALUES.map(json.dumps)
    search(cases, damaged(good, 200) | st.sampled_from(kinds).map(other) | headers.map(header), check)


@budget(40, 3000)
def test_weights_of_embeddings(cases, tmp_path):
    module, path = nn.Linear(2, 3), tmp_path / "w.pth"
    weights = OrderedDict(module.state_dict())
    good = saved(weights)
    old = io.BytesIO()
    torch.save(weights, old, _use_new_zipfile_serialization=False)
    strange = strange_tensors(weights["weight"])

    def take(path: Path) -> None:
        fill(module, read(path, "it"), path, "it")

    def check(content: bytes) -> None:
        path.write_bytes(content)
        told_by(take, path)

    check(good)
    others = st.integers(0, len(strange) - 1).map(lambda n: saved({**weights, "weight": strange[n]}))
    pickles = damaged(pickle_of(good), 3000).map(lambda part: rewritten(good, part))
    protocols = st.sampled_from([0, 1, 2, 4]).map(lambda n: pickle.dumps({"weight": [1.0]}, n))
    search(cases, pickles | damaged(old.getvalue(), 400) | others | protocols, check)


def test_lengths_of_an_old_pickle_cost_nothing(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({}, path, _use_new_zipfile_serialization=False)
    # a text of 2 GB, of which there is nothing
    path.write_bytes(path.read_bytes()[:60] + b"X\xff\xff\xff\x7f")
    assert "MemoryError" not in (told_by(read, path, "it") or "MemoryError")
