"""Bundles: what is read is what was written, and whatever else is read gives one clear message."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nablafx.export import bundle
from nablafx.export.bundle import BundleError, read_bundle
from nablafx.export.formats import Request
from nablafx.export.reading import read_model

from .made import DESCRIPTIONS, audio, model

OLD = Path(__file__).parent / "bundle-v1.nablafx"


def written(path: Path, kind: str = "lstm", **facts) -> Path:
    made = model(kind, **facts)
    controls = torch.tensor([[0.2, 0.9]]) if made.control_names else None
    bundle.write(made, path, Request(controls, None, audio()))
    return path


def header_of(path: Path) -> dict:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["nablafx"])


def rewritten(path: Path, header: dict | None = None, **tensors: torch.Tensor | None) -> Path:
    """The same bundle with other fields in its header, and other tensors; None takes one away."""
    kept = {**load_file(path), **tensors}
    told = {**header_of(path), **(header or {})}
    save_file({name: value for name, value in kept.items() if value is not None}, path, {"nablafx": json.dumps(told)})
    return path


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_what_is_read_sounds_as_what_was_written(kind, tmp_path, monkeypatch):
    made = model(kind)
    path = written(tmp_path / "model.nablafx", kind)
    # pre-trained weights are looked for in the checkout: a bundle must not want them
    monkeypatch.setattr("nablafx.layers.pretrained.load_pretrained", None)
    read = read_model(path)
    controls = torch.rand(1, len(made.control_names)) if made.control_names else None
    x = audio(2_000)
    assert torch.equal(read.effect(x, controls)[0], made.effect(x, controls)[0])
    assert (read.sample_rate, read.control_names, read.name) == (made.sample_rate, made.control_names, made.name)
    assert read.latency == made.latency == (127 if kind in ("tfilm", "chain") else 0)
    assert not read.effect.training


def test_facts_come_along_and_can_be_read_without_nablafx(tmp_path):
    path = written(tmp_path / "model.nablafx", author="Ada", license="CC0", metrics={"esr": 0.01})
    assert read_bundle(path).facts == {"author": "Ada", "license": "CC0", "metrics": {"esr": 0.01}}
    header = header_of(path)
    assert header["format_version"] == 1
    assert header["sample_rate"] == 48_000
    assert header["latency"] == 0


def test_snapshot_is_of_the_loudest_audio_and_at_the_knobs(tmp_path):
    path = written(tmp_path / "model.nablafx", "knobbed")
    tensors = load_file(path)
    assert tensors["snapshot.x"].abs().max() == audio().abs().max()
    expected = model("knobbed").effect(tensors["snapshot.x"], torch.tensor([[0.2, 0.9]]))[0]
    assert torch.allclose(tensors["snapshot.y"], expected, atol=1e-6)


def test_bundle_of_format_1_keeps_loading():
    """Written by version 0.1.0; its snapshot is the recorded output that the reader compares with."""
    read = read_bundle(OLD)
    assert read.control_names == ("D", "T")
    assert read.facts["author"] == "Ada"
    tensors = load_file(OLD)
    heard = read.effect(tensors["snapshot.x"], tensors["snapshot.controls"])[0]
    assert torch.allclose(heard, tensors["snapshot.y"], atol=1e-6)


def test_fields_of_later_readers_are_left_alone(tmp_path):
    path = rewritten(written(tmp_path / "model.nablafx"), {"colour": "red"}, extra=torch.zeros(3))
    assert read_bundle(path).name == "demo/lstm/smoke"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format_version": 2}, "install a newer one"),
        ({"format_version": "1"}, "header is damaged"),
        ({"format_version": True}, "header is damaged"),
        ({"effect": None}, "nothing usable of effect"),
        ({"effect": {"class_path": "LSTM", "init_args": {"hidden_size": "many"}}}, "describes no effect"),
        ({"effect": {"class_path": "LSTM", "init_args": {"hidden_size": 9}}}, "another model's"),
        ({"effect": {"init_args": {}}}, "nothing usable of effect"),
        ({"sample_rate": -1}, "nothing usable of sample_rate"),
        ({"control_names": "DT"}, "nothing usable of control_names"),
        ({"control_names": ["D"]}, "describes no effect"),
        ({"facts": [], "name": 3}, "nothing usable of facts and name"),
        ({"facts": {"metrics": {"esr": "low"}}}, "nothing usable of facts"),
        ({"facts": {"author": 3}}, "nothing usable of facts"),
        ({"facts": {"validation_esr": None}}, "nothing usable of facts"),
    ],
)
def test_header_that_cannot_be_gives_one_message(header, message, tmp_path):
    path = rewritten(written(tmp_path / "model.nablafx"), header)
    with pytest.raises(BundleError if "another" not in message else Exception, match=message):
        read_bundle(path)


def test_header_that_is_no_json(tmp_path):
    path = written(tmp_path / "model.nablafx")
    save_file(load_file(path), path, {"nablafx": "{"})
    with pytest.raises(BundleError, match="header is damaged"):
        read_bundle(path)


def test_other_safetensors_are_no_bundles(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.nablafx")
    with pytest.raises(BundleError, match="no bundle of nablafx"):
        read_bundle(tmp_path / "other.nablafx")


@pytest.mark.parametrize("keep", [0, 7, 100, 5_000])
def test_truncated_files(keep, tmp_path):
    path = written(tmp_path / "model.nablafx")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(path)


@pytest.mark.parametrize("name", ["effect.linear.weight", "effect.lstm.weight_hh_l0", "snapshot.y"])
@pytest.mark.parametrize("damage", [lambda w: -w, lambda w: w * torch.nan])
def test_weights_that_are_not_those_are_heard(name, damage, tmp_path):
    path = written(tmp_path / "model.nablafx")
    rewritten(path, **{name: damage(load_file(path)[name])})
    with pytest.raises(BundleError, match="does not sound as it did"):
        read_bundle(path)


@pytest.mark.parametrize("tensors", [{"snapshot.x": None}, {"snapshot.y": torch.zeros(1, 1, 3)}])
def test_bundle_without_a_snapshot(tensors, tmp_path):
    path = rewritten(written(tmp_path / "model.nablafx"), **tensors)
    with pytest.raises(BundleError, match="no snapshot"):
        read_bundle(path)


def test_snapshot_of_another_shape(tmp_path):
    shapeless = {"snapshot.x": torch.zeros(5), "snapshot.y": torch.zeros(5)}
    path = rewritten(written(tmp_path / "model.nablafx"), **shapeless)
    with pytest.raises(BundleError, match="does not fit its effect"):
        read_bundle(path)


@pytest.mark.parametrize(
    "effect",
    [
        {"class_path": "trap.Trap"},
        "trap.Trap",
        {"class_path": "GrayBox", "init_args": {"stages": {"a": {"processor": "trap.Trap"}}}},
        {"class_path": "GrayBox", "init_args": {"stages": {"a": {"processor": {"class_path": "trap.Trap"}}}}},
        {"class_path": "LSTM", "init_args": {"conditioning": "trap.Trap"}},
        {"class_path": "LSTM", "init_args": {"conditioning": [{"class_path": "trap.Trap"}]}},
    ],
)
def test_foreign_classes_are_not_even_imported(effect, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("from nablafx.effects import LSTM\nclass Trap(LSTM): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = rewritten(written(tmp_path / "model.nablafx"), {"effect": effect})
    with pytest.raises(BundleError, match=r"trap\.Trap, which is no class of nablafx"):
        read_bundle(path)
    assert "trap" not in sys.modules


def test_effects_of_others_cannot_be_bundled(tmp_path):
    foreign = model()._replace(description={"class_path": "mine.Effect"})
    with pytest.raises(BundleError, match=r"mine\.Effect"):
        bundle.write(foreign, tmp_path / "model.nablafx", Request(None, None, audio()))


@pytest.mark.parametrize(
    ("name", "message"), [("none.nablafx", "there is no bundle"), ("none", "no run and no"), ("a.txt", "is no model")]
)
def test_places_that_hold_no_model(name, message, tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(Exception, match=message):
        read_model(tmp_path / name)
