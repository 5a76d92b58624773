"""Configs and recordings that come with the package: found by name, listed, copied."""

from __future__ import annotations

import filecmp
from pathlib import Path

import pytest

from nablafx import shipped
from nablafx.errors import UserError
from nablafx.training.runs import run_name

from .cli import nablafx
from .conftest import ROOT

CFG = ROOT / "cfg"
TCN = str(CFG / "model/tcn/45-s.yaml")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "given", ["model/tcn/45-s.yaml", "model/tcn/45-s", "cfg/model/tcn/45-s.yaml", "cfg/model/tcn/45-s", TCN]
)
def test_a_shipped_config_is_found_from_anywhere(given, elsewhere):
    assert shipped.find_config(given) == TCN
    assert run_name([shipped.find_config(given)]) == "tcn-45-s"


def test_a_file_that_is_there_goes_first(elsewhere):
    mine = elsewhere / "model/tcn/45-s.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("model: {lr: 1}")
    assert shipped.find_config("model/tcn/45-s.yaml") == "model/tcn/45-s.yaml"


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("model/tcn/45-x.yaml", "did you mean model/tcn/45-s.yaml"),
        ("cfg/model/tcm/45-s.yaml", "model/tcn/45-s.yaml"),
        ("ts9", "no config ts9, neither here"),
        ("/nowhere/45-s.yaml", "no config /nowhere/45-s.yaml"),
    ],
)
def test_an_unknown_config_is_told_with_its_neighbours(given, near, elsewhere):
    told = nablafx("fit", "-c", given)
    assert told.status == 1
    assert near in told.err
    assert not list(elsewhere.iterdir())


def test_all_ways_to_name_a_config(elsewhere):
    words = ["-c", "model/tcn/45-s", "--config", "model/tcn/45-s", "-c=model/tcn/45-s", "--config=model/tcn/45-s"]
    rest = ["--name", "model/tcn/45-s", "--model.lr=0.1"]
    assert shipped.found_configs([*words, *rest]) == ["-c", TCN, "--config", TCN, f"-c={TCN}", f"--config={TCN}", *rest]


def test_every_config_is_listed_with_what_it_is():
    told = nablafx("configs")
    assert told.status == 0
    lines = dict(line.split(maxsplit=1) for line in told.out.splitlines())
    assert set(lines) == {path.relative_to(CFG).as_posix() for path in CFG.rglob("*.yaml")}
    for name, text in lines.items():
        assert (CFG / name).read_text().startswith(f"# {text}\n")


def test_words_choose_among_the_configs():
    told = nablafx("configs", "tcn", "45")
    assert [line.split()[0] for line in told.out.splitlines()] == ["model/tcn/45-l.yaml", "model/tcn/45-s.yaml"]
    none = nablafx("configs", "reverb")
    assert (none.status, "no shipped config has reverb" in none.err) == (1, True)


def test_configs_are_copied_and_never_over_others(elsewhere):
    assert nablafx("configs", "--copy", "mine").status == 0
    assert not filecmp.dircmp(CFG, elsewhere / "mine").diff_files
    copied = {path.relative_to(elsewhere / "mine") for path in (elsewhere / "mine").rglob("*") if path.is_file()}
    assert copied == {path.relative_to(CFG) for path in CFG.rglob("*.yaml")}
    assert nablafx("configs", "--copy", "mine").status == 0
    changed, gone = elsewhere / "mine/model/tcn/45-s.yaml", elsewhere / "mine/data/demo-ts9.yaml"
    changed.write_text("model: {}")
    gone.unlink()
    refused = nablafx("configs", "--copy", "mine")
    assert refused.status == 1
    assert "mine/model/tcn/45-s.yaml: exists already and differs" in refused.err
    assert changed.read_text() == "model: {}"
    assert not gone.exists()


def test_the_demo_recordings_are_laid_out(elsewhere):
    told = nablafx("demo-data", "demo")
    assert told.status == 0
    source = ROOT / "demo"
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    assert sorted(path.relative_to("demo") for path in Path("demo").rglob("*") if path.is_file()) == files
    assert all(filecmp.cmp(source / file, Path("demo") / file, shallow=False) for file in files)
    command = "nablafx fit -c data/demo-overdrive.yaml -c model/lstm/32.yaml -c trainer/quickstart.yaml"
    assert told.out.splitlines()[-1] == f"Next: {command}"
    other = nablafx("demo-data", "sounds/demo")
    assert other.out.splitlines()[-1] == f"Next: DATA_ROOT={elsewhere / 'sounds'} {command}"
    third = nablafx("demo-data", "sounds/other")
    assert "--data.dry sounds/other/DRY --data.wet sounds/other/GX-TS9" in third.out


def test_a_folder_that_cannot_be_written_is_told(elsewhere):
    (elsewhere / "file").write_text("")
    with pytest.raises(UserError, match="cannot copy to file"):
        shipped.copy({CFG / "data/demo-ts9.yaml": Path("file/x.yaml")})
