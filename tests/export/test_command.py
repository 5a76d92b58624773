"""nablafx export: what is written has been checked, and what does not agree is not written."""

from __future__ import annotations

import json
import re
import sys

import pytest
import soundfile
import torch

from nablafx.export import bundle
from nablafx.export.bundle import read_bundle
from nablafx.export.command import read_audio, save
from nablafx.export.formats import FORMATS, ExportError, Request, compare
from nablafx.export.reading import read_model

from ..cli import nablafx
from ..conftest import ROOT
from .made import audio, model
from .test_bundle import header_of, written


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_written_from_the_command_line_and_says_how_it_was_checked(name, tmp_path):
    """An LSTM-40 without output activation is what all of them can hold."""
    path = (tmp_path / "m").with_suffix(FORMATS[name].suffix)
    source = written(tmp_path / "source.nablafx", "plain")
    done = nablafx("export", source, "--format", name, "--output", path, "--seconds", 0.2)
    assert done.status == 0, done.err
    assert "0.2 s" in done.out
    assert f"Written {path}" in " ".join(done.out.split("\n"))
    assert path.stat().st_size > 1_000
    assert len(list(tmp_path.iterdir())) == 2


def test_a_library_that_is_missing_is_told_with_what_brings_it(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("nablafx.export.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    source = written(tmp_path / "source.nablafx")
    done = nablafx("export", source, "--format", "onnx", "--output", tmp_path / "m.onnx", "--seconds", 0.1)
    assert done.status == 1
    assert "onnx needs onnxruntime, which is not installed: pip install 'nablafx[onnx]'" in done.err
    assert not (tmp_path / "m.onnx").exists()


def test_the_page_for_hosts_runs_a_program(tmp_path, monkeypatch):
    """Its lines, on a program that was written beside them."""
    page = (ROOT / "docs" / "exports.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    source = written(tmp_path / "source.nablafx", "plain")
    assert nablafx("export", source, "--format", "torch", "--output", "ts9.pt2", "--seconds", 0.2).status == 0
    names: dict = {}
    exec(compile(code, "exports.md", "exec"), names)
    expected, _ = model("plain").effect(names["x"])
    assert torch.allclose(names["y"], expected, atol=1e-6)
    assert names["state"].keys() == names["program"].example_inputs[0][2].keys()


def test_a_run_becomes_a_bundle_with_what_is_known_of_it(two_runs, tmp_path):
    for run in sorted(two_runs.rglob("version_0")):
        path = tmp_path / f"{run.parts[-3]}.nablafx"
        words = ["--author", "Ada", "--gear-type", "pedal", "--input-level-dbu", 12.5, "--name", "My pedal"]
        done = nablafx("export", run, "--format", "bundle", "--output", path, "--seconds", 0.5, *words)
        assert done.status == 0, done.err
        assert "checked with" in done.out
        assert f"Written {path}" in done.out
        read, trained = read_bundle(path), read_model(run)
        assert torch.equal(read.effect(audio())[0], trained.effect(audio())[0])
        facts = read.facts
        assert (facts["author"], facts["gear_type"], facts["input_level_dbu"]) == ("Ada", "pedal", 12.5)
        assert read.name == "My pedal"
        # as the run's own files say
        record = json.loads((run / "run.json").read_text())
        rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
        assert facts["steps"] == record["steps"] == 2
        assert facts["metrics"]["esr"] == pytest.approx(float(rows[-1][rows[0].index("esr")]))
        assert facts["validation_esr"] > 0
        assert facts["created"].endswith("Z")


def test_knobs_of_the_snapshot_are_those_that_were_given(tmp_path):
    again = written(tmp_path / "m.nablafx", "knobbed")
    words = ["--output", tmp_path / "n.nablafx", "--seconds", 0.1, "--controls", "T=0.25"]
    assert nablafx("export", again, "--format", "bundle", *words).status == 0
    from safetensors.torch import load_file

    assert load_file(tmp_path / "n.nablafx")["snapshot.controls"].tolist() == [[0.5, 0.25]]


@pytest.mark.parametrize("esr", [1e-3, float("nan")])
def test_an_export_that_sounds_otherwise_is_not_written(esr, tmp_path, monkeypatch):
    (tmp_path / "m.nablafx").write_bytes(b"before")
    heard = audio() * (1 + esr**0.5)
    monkeypatch.setattr(bundle, "check", lambda *_: [compare("a runtime", heard, audio(), 48_000, 1e-4)])
    with pytest.raises(ExportError, match=r"a runtime has an ESR of (1\.0e-03|nan).*Nothing was written"):
        save("bundle", model(), tmp_path / "m.nablafx", Request(None, None, audio()))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_failing_writer_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "check", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save("bundle", model(), tmp_path / "m.nablafx", Request(None, None, audio()))
    assert not list(tmp_path.iterdir())


def test_comparison_is_the_ratio_of_energies():
    expected = audio()
    found = compare("a runtime", expected + 0.1, expected, 48_000, 1.0)
    assert found.difference == pytest.approx(0.1)
    assert found.esr == pytest.approx(0.01 * expected.numel() / float(expected.square().sum()), rel=1e-4)
    assert found.seconds == pytest.approx(0.2)
    assert found.passed
    assert not compare("a runtime", expected * torch.nan, expected, 48_000, 1.0).passed


def test_audio_is_resampled_to_the_model(tmp_path):
    tone = torch.sin(torch.arange(44_100) * (2 * torch.pi * 441 / 44_100))
    soundfile.write(tmp_path / "a.wav", tone.numpy(), 44_100, subtype="FLOAT")
    heard = read_audio(tmp_path / "a.wav", model(), 0.5)
    assert heard.shape == (1, 1, 24_000)
    crossings = (heard[0, 0, 1:].sign() != heard[0, 0, :-1].sign()).sum()
    assert int(crossings) == pytest.approx(441, abs=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "m.wav"], "a file of this format ends in .nablafx"),
        (["--controls", "D=0.5"], "has no knobs"),
        (["--audio", "none.wav"], "cannot be read"),
        (["--seconds", "100"], "has no 100 s of audio"),
        (["--output", "m.nablafx/m.nablafx"], "cannot write"),
    ],
)
def test_mistakes_give_one_message(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "m.nablafx")
    done = nablafx("export", "m.nablafx", "--format", "bundle", *words)
    assert done.status == 1
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.nablafx"]


def test_header_says_what_a_host_wants(tmp_path):
    header = header_of(written(tmp_path / "m.nablafx", "tfilm"))
    assert (header["latency"], header["sample_rate"], header["control_names"]) == (127, 48_000, [])
