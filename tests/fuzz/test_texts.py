"""YAML, JSON and tables that are no such, or hold what nobody expects, through the commands that read them."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from hypothesis import strategies as st

from nablafx.export.automation import read_automation
from nablafx.foreign import ForeignError, read_json, read_table, read_yaml
from nablafx.training.plot import read_history

from ..data.layout import write_set
from ..published.cases import STACK, black_box, gray_box
from ..report.made import make_run
from .faults import altered, damaged
from .harness import budget, search, told_by, told_by_command

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
YAMLS = [
    b"",
    b"\xef\xbb\xbfmodel: {lr: 1}",
    b"\xff\xfem\0o\0d\0e\0l\0",
    b"model: \xff",
    b"\0" * 100,
    b"RIFF\x24\0\0\0WAVEfmt ",
    b"- 1\n- 2\n",
    b"model: [",
    b"model: " + b"[" * 5000,
    b"model: " + b"{a: " * 2000,
    b"? {a: b}\n: c\n",
    b"1: 2\nnull: 3\ntrue: 4\n",
    b"!!python/object/apply:os.system ['false']",
    b"!!python/name:os.system",
    b"model: !!int ''",
    b"model: !!bool x",
    b"model: !!timestamp x",
    b"model: 2001-99-99",
    b"model: !!float x",
    b"model: !!binary '&'",
    b"model: &a [*a]",
    b"model: *b",
    b"<<: 1",
    b"model: " + b"9" * 5000,
    b"model: 0x" + b"f" * 100_000,
    BOMB.encode(),
    ("<<: *x\n" + BOMB).encode(),
    b"a\xcc\x81: 1",
    b"\x1b]0;x\x07: 1",
    b"---\n---\n",
    b"%YAML 9.9\n---\na: 1",
]


def as_yaml(content: object) -> bytes:
    return yaml.safe_dump(content, allow_unicode=False).encode()


@pytest.mark.parametrize("content", YAMLS, ids=range(len(YAMLS)))
def test_yaml_that_is_none(content, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    told_by_command("fit", "-c", path, "--log_root", tmp_path / "logs")
    assert told_by_command("convert", path) is not None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB.encode(), "with its aliases followed it has more than 100000 values"),
        (b"a: &a [*a]", "more than 100000 values"),
        (b"[" * 5000, "too deep in each other"),
        (b"x: !!int ''", "it is no YAML text"),
        (b"\xff", "it is no YAML text"),
        (b"#" * (2**24 + 1), "16777216 are the most"),
    ],
)
def test_yaml_has_bounds(content, told, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ForeignError, match=told):
        read_yaml(path)


def test_json_has_bounds(tmp_path):
    path = tmp_path / "x.json"
    for content, told in {"[" * 100_000: "too deep", "NaN": "no number", "9" * 5000: "no JSON", "{": "no JSON"}.items():
        path.write_text(content)
        with pytest.raises(ForeignError, match=told):
            read_json(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("time," + "x" * 2**20, "a line of it has more than 131072 letters"),
        ("time,D\n0," + "0" * 2**20, "a line of it has more than 131072 letters"),
        (",".join(map(str, range(20_000))), "it has 20000 columns"),
        ("a,a\n1,2", "no two of a name"),
        ("a,b\n1,2,3", "line 2 has 3 cells for 2 columns"),
        ('a,b\n"1', "unexpected end of data"),
    ],
)
def test_tables_have_bounds(content, told, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(ForeignError, match=told):
        list(read_table(path))


@budget(40, 3000)
def test_automation(cases, tmp_path):
    path = tmp_path / "a.csv"
    good = b"time,D,T\n" + b"".join(b"%.2f,%.1f,0.5\n" % (n / 10, n % 10 / 10) for n in range(12))

    def check(content: bytes) -> None:
        path.write_bytes(content)
        told_by(read_automation, path, ("D", "T"), {"D": 0.5, "T": 0.5})

    search(cases, damaged(good, 40), check)


@budget(30, 2000)
def test_history(cases, tmp_path):
    path = tmp_path / "history.csv"
    rows = [f"{n},0.{n},,{n}e-3\n" for n in range(1, 8)]
    good = ("step,loss/train/total,loss/val/total,lr-Adam\n" + "".join(rows)).encode()

    def check(content: bytes) -> None:
        path.write_bytes(content)
        told_by(read_history, path)

    search(cases, damaged(good, 60), check)


@budget(12, 1500)
def test_runs_to_compare(cases, tmp_path):
    folders = [make_run(tmp_path / "logs", seed=seed) for seed in (1, 2)]
    files = {name: folders[0] / name for name in ("run.json", "config.yaml", "metrics.csv")}
    good = {name: file.read_bytes() for name, file in files.items()}
    words = ("compare", tmp_path / "logs", "--output", tmp_path / "out")
    assert told_by_command(*words) is None

    def check(case) -> None:
        name, content = case
        for other, file in files.items():
            file.write_bytes(content if other == name else good[other])
        told_by_command(*words)

    record, config = json.loads(good["run.json"]), yaml.safe_load(good["config.yaml"])
    changed = {
        "run.json": altered(record).map(lambda made: json.dumps(made).encode()) | damaged(good["run.json"], 2000),
        "config.yaml": altered(config).map(as_yaml) | damaged(good["config.yaml"], 2000),
        "metrics.csv": damaged(good["metrics.csv"], 200),
    }
    search(cases, st.one_of([st.tuples(st.just(name), made) for name, made in changed.items()]), check)


@budget(15, 1500)
def test_published_configs_to_convert(cases, tmp_path):
    path = tmp_path / "old.yaml"
    net = black_box("TCN", STACK, num_blocks=5, kernel_size=7, dilation_growth=4, channel_width=16, cond_type="film")
    chain = gray_box(("ParametricEQ", {"control_type": "static"}), ("Gain", {"control_type": "dynamic"}))
    data = {
        "class_path": "nablafx.data.DryWetFilesPluginDataModule",
        "init_args": {"root_dir_dry": "DRY/trainval", "root_dir_wet": "W/trainval/D050", "sample_length": 48_000},
    }
    trainer = {"max_steps": 10, "logger": {"class_path": "WandbLogger", "init_args": {"project": "p", "tags": ["a"]}}}
    trainer["callbacks"] = [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"mode": "min"}}]
    whole = st.sampled_from([net, chain]).flatmap(lambda m: altered({"model": m, "data": data, "trainer": trainer}))

    def check(content: bytes) -> None:
        path.write_bytes(content)
        told_by_command("convert", path)

    good = as_yaml({"model": net, "data": data, "trainer": trainer})
    path.write_bytes(good)
    assert told_by_command("convert", path) is None
    search(cases, whole.map(as_yaml) | whole.map(as_yaml) | damaged(good, 4000), check)


@budget(4, 400)
def test_configs_to_fit(cases, tmp_path, monkeypatch):
    """Every section; a fit of no steps builds all that they name."""
    dry, wet = write_set(tmp_path, {"a": 8960, "b": 4720}, settings=())
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    before = set(os.listdir(tmp_path))
    good = {
        "name": "x/y/z",
        "seed_everything": 1,
        "data": {"dry": str(dry), "wet": str(wet), "segment_length": 960, "batch_size": 2, "sample_rate": 8000},
        "model": {
            "effect": {"class_path": "LSTM", "init_args": {"hidden_size": 4}},
            "lr": 0.01,
            "loss": {"class_path": "WeightedSum", "init_args": {"terms": {"esr": {"loss": "ESRLoss", "weight": 1}}}},
        },
        "media": {"log_media_every_n_steps": 0},
        "checkpoint": {"save_last": True},
        "early_stopping": {"patience": 3},
        "fad": {"embeddings": []},
        "trainer": {"limit_val_batches": 1, "log_every_n_steps": 1, "callbacks": [{"class_path": "NormsCallback"}]},
    }
    # what would run for long or elsewhere is not asked here
    words = ["--trainer.max_steps", 0, "--trainer.devices", 1, "--trainer.num_nodes", 1, "--trainer.accelerator", "cpu"]
    words += ["--data.num_workers", 0, "--log_root", tmp_path / "logs", "--trainer.num_sanity_val_steps", 0]
    path = tmp_path / "config.yaml"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        told_by_command("fit", "-c", path, *words)
        assert set(os.listdir(tmp_path)) <= {*before, "config.yaml", "logs"}, "it wrote elsewhere"

    path.write_bytes(as_yaml(good))
    assert told_by_command("fit", "-c", path, *words) is None
    search(cases, altered(good).map(as_yaml) | damaged(as_yaml(good), 2000), check)
