"""What README.md and CONTRIBUTING.md say holds: code, commands, tables and places."""

from __future__ import annotations

import inspect
import re
import shlex
import sys

import pytest
import yaml

from nablafx.cli import main
from nablafx.data import PairedAudioDataModule
from nablafx.training.repeats import take

from .cli import data_words, nablafx
from .conftest import ROOT
from .effects.committed import build, build_chain

README = (ROOT / "README.md").read_text()
PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "docs/exports.md")}
KNOBS = 4  # of the tables' columns with a conditioning
ONE_STEP = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


RUNS_MODELS = ("fit", "validate", "test", "predict")


def commands(*names: str) -> list[list[str]]:
    """Calls of nablafx with one of these commands; with none, all others."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    calls = [line[line.index("nablafx") + 1 :] for line in words if line[:1] in (["nablafx"], ["torchrun"])]
    return [call for call in calls if (call[0] in names if names else call[0] not in RUNS_MODELS)]


def rows() -> list[tuple[str, str, str, str]]:
    """(model, receptive field, column, figure) of every figure in the tables of models."""
    found = []
    for table in re.findall(r"^\| `cfg/model/` \|.*\n(?:\|.*\n)+", README, re.MULTILINE):
        head, _, *body = [[cell.strip(" `") for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
        for model, field, *figures in body:
            found += [
                (model, field, column, figure) for column, figure in zip(head[2:], figures, strict=True) if figure
            ]
    return found


def named(model: str, column: str) -> tuple[str, str | None, int]:
    """(config, overlay, knobs) of a figure."""
    if column.startswith("-"):
        return f"{model}{column}", None, KNOBS if "cond" in column else 0
    return (model, None, 0) if column == "plain" else (model, column, KNOBS)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[-1][:20])
def test_python_runs(code, tmp_path, monkeypatch):
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def additions() -> list[tuple[str, str]]:
    """(contents of mine.py, the config that uses it) of the section that adds parts."""
    (section,) = re.findall(r"^## Add your own\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(# mine.py\n.*?)^```\n\n```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("code", "config"), additions(), ids=lambda text: text.splitlines()[-1].strip()[:20])
def test_parts_of_ones_own_train(code, config, knobless, knobbed, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "model.yaml").write_text(config)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    knobs = {"demo": knobbed, "controls": "[D, T]"} if "conditioning" in config else {"demo": knobless}
    words = ["-c", tmp_path / "model.yaml", *data_words(**knobs), "--log_root", tmp_path / "logs", *ONE_STEP]
    assert "--allow mine" in nablafx("fit", *words).err
    fitted = nablafx("fit", *words, "--allow", "mine")
    assert fitted.status == 0, fitted.err
    assert list(tmp_path.rglob("best.ckpt"))


def test_every_kind_of_part_is_shown():
    assert len(additions()) == 4
    bases = {"Processor", "Effect", "Conditioning", "Loss"}
    assert {base for code, _ in additions() for base in re.findall(r"class \w+\((\w+)\)", code)} >= bases


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_other_commands_have_their_options(words, capsys):
    with pytest.raises(SystemExit) as ending:
        main([words[0], "--help"])
    assert ending.value.code == 0
    told = capsys.readouterr().out
    assert all(re.search(rf"(?<![\w-]){word}\b", told) for word in words if word.startswith("-"))


@pytest.mark.parametrize("words", commands(*RUNS_MODELS), ids=" ".join)
def test_commands_parse(words, tmp_path, monkeypatch, capsys):
    (tmp_path / "cfg").symlink_to(ROOT / "cfg")
    for path in (tmp_path / "pedal.yaml", tmp_path / "recordings/data.yaml"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(next(block for block in blocks("yaml") if block.startswith("data:")))
    monkeypatch.chdir(tmp_path)
    # an ellipsis stands for the files that every fit needs
    needed = ["-c", "pedal.yaml", "-c", "cfg/model/lstm/32.yaml", "-c", "cfg/trainer/tbptt.yaml"]
    words = [word for given in words for word in (needed if given == "…" else [given])]
    words, _ = take(words, "--repeats")  # they are commands of their own
    with pytest.raises(SystemExit) as ending:
        main([*words, "--print_config"])
    assert ending.value.code == 0
    assert "data" in yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if b.startswith("model:") and "mine." not in b])
def test_model_sections_build(block, tmp_path, monkeypatch, capsys):
    (tmp_path / "given.yaml").write_text(block)
    monkeypatch.chdir(ROOT)
    files = ["-c", "cfg/data/demo-overdrive.yaml", "-c", "cfg/model/lstm/32.yaml", "-c", str(tmp_path / "given.yaml")]
    with pytest.raises(SystemExit) as ending:
        main(["fit", *files, "--print_config"])
    assert ending.value.code == 0


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if block.startswith("# sweep.yaml")])
def test_sweeps_can_be_read(block, tmp_path, monkeypatch):
    (tmp_path / "sweep.yaml").write_text(block)
    (tmp_path / "pedal.yaml").write_text(next(block for block in blocks("yaml") if block.startswith("data:")))
    monkeypatch.chdir(tmp_path)
    listed = nablafx("sweep", "sweep.yaml", "--list")
    assert listed.status == 0, listed.err


def test_data_sections_name_arguments():
    arguments = set(inspect.signature(PairedAudioDataModule).parameters)
    sections = [yaml.safe_load(block)["data"] for block in blocks("yaml") if block.startswith("data:")]
    assert len(sections) == 3
    assert all(set(section) <= arguments for section in sections)


@pytest.mark.parametrize("key", sorted(set(re.findall(r"`data\.(\w+)`", README))))
def test_data_settings_exist(key):
    assert key in inspect.signature(PairedAudioDataModule).parameters


@pytest.mark.parametrize(("model", "field", "column", "figure"), rows(), ids=lambda value: str(value))
def test_tables(model, field, column, figure):
    config, overlay, knobs = named(model, column)
    kind, _, name = config.partition("/")
    net = build_chain(name, knobs) if kind == "graybox" else build(config, overlay, knobs)
    assert f"{sum(p.numel() for p in net.parameters()):,}" == figure
    reach = net.receptive_field
    assert field == ("unbounded" if reach is None else f"{1000 * reach / 48_000:.0f} ms")


@pytest.mark.parametrize("page", PAGES)
def test_places_exist(page):
    words = re.findall(r"(?<![\w/.$~-])(?:cfg|demo|docs|nablafx|scripts|tests|\.ci)/[\w./-]*", PAGES[page])
    missing = {word.rstrip(".") for word in words if not (ROOT / word.rstrip(".")).exists()}
    assert not missing, f"{page} names {', '.join(sorted(missing))}"


def test_every_model_is_in_the_tables():
    told = {named(model, column)[0] for model, _, column, _ in rows()}
    # the published chains "also exist with -inv before -cond"
    for chain in [name for name in told if name.partition("/")[2].startswith(("dist-", "fuzz-"))] + ["graybox/comp"]:
        told.add(f"{chain.removesuffix('-cond')}-inv{'-cond' if chain.endswith('-cond') else ''}")
    told.add("graybox/comp-inv-cond")
    there = {str(path.relative_to(ROOT / "cfg/model").with_suffix("")) for path in (ROOT / "cfg/model").rglob("*.yaml")}
    there = {name for name in there if not name.startswith("with/")}
    assert not there - told, f"the tables of README.md lack {', '.join(sorted(there - told))}"
    assert not told - there, f"the tables of README.md tell of {', '.join(sorted(told - there))}"
