"""Runs side by side: what is averaged, what is ranked, what is kept apart and said."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from nablafx.errors import UserError
from nablafx.report.compare import compare
from nablafx.report.runs import read_runs
from nablafx.report.tables import as_csv, as_markdown
from tests.cli import nablafx

from .made import FILES, TESTED, make_run


def compared(root, metrics=("esr", "cosine"), **arguments):
    runs, _ = read_runs([root])
    return compare(runs, metrics, **arguments)


def test_runs_that_differ_in_their_seed_are_averaged(tmp_path):
    for seed, esr in ((42, 0.1), (43, 0.2), (44, 0.6)):
        make_run(tmp_path, seed=seed, values=(esr, 0.9))
    make_run(tmp_path, seed=42, values=(0.05, 0.9), config={"model": {"lr": 0.1}})
    (table,) = compared(tmp_path).tables
    other, repeated = table.groups
    assert [len(group.runs) for group in (other, repeated)] == [1, 3]
    assert repeated.seeds == [42, 43, 44]
    assert repeated.spreads["esr"].mean == pytest.approx(0.3)
    assert repeated.spreads["esr"].sd == pytest.approx(math.sqrt(0.07))
    assert (other.ranks["esr"], repeated.ranks["esr"]) == (1, 2)
    # of one name, they are told apart by what differs
    assert other.label == "tcn-45-s (lr 0.1) / blackbox"
    assert repeated.label == "tcn-45-s (no lr) / blackbox"


def test_groups_that_differ_in_much_are_told_apart_by_their_folders(tmp_path):
    make_run(tmp_path)
    make_run(tmp_path, config={"model": {"lr": 0.1, "tbptt_samples": 4800, "weight_decay": 0.1}})
    labels = {group.label for group in compared(tmp_path).tables[0].groups}
    assert labels == {"tcn-45-s (version_0) / blackbox", "tcn-45-s (version_1) / blackbox"}


def test_a_run_counts_once_and_a_seed_once(tmp_path, monkeypatch):
    """Else an interval would be too small: n is the number of independent runs."""
    monkeypatch.chdir(tmp_path)
    for number in range(11):
        make_run(Path("logs"), seed=number, values=(0.1 + number / 100, 0.9))
    again = make_run(Path("logs"), seed=3, values=(0.5, 0.9))
    runs, _ = read_runs(["logs", tmp_path / "logs", "logs/../logs"])
    assert len(runs) == 12
    comparison = compare(runs, ["esr"])
    (group,) = comparison.tables[0].groups
    assert group.seeds == list(range(11))
    assert group.values("esr")[3] == 0.5
    assert comparison.flags == [
        f"ts9, tcn-45-s / blackbox: seed 3 was run 2 times, which are no repeats; {again} counts"
    ]


def test_ranks_follow_the_direction_of_the_metric(tmp_path):
    make_run(tmp_path, "ts9/a/t", values=(0.1, 0.8))
    make_run(tmp_path, "ts9/b/t", values=(0.2, 0.9))
    first, second = compared(tmp_path).tables[0].groups
    assert (first.label, first.ranks) == ("a / t", {"esr": 1, "cosine": 2})
    assert (second.label, second.ranks) == ("b / t", {"esr": 2, "cosine": 1})


def test_what_cannot_be_told_from_the_best_is_marked(tmp_path):
    for model, values in (("a", (0.1, 0.11)), ("b", (0.105, 0.12)), ("c", (0.9, 0.901))):
        for seed, esr in enumerate(values):
            make_run(tmp_path, f"ts9/{model}/t", seed=seed, values=(esr, 0.9))
    a, b, c = compared(tmp_path).tables[0].groups
    assert ("esr" in a.near_best, "esr" in b.near_best, "esr" in c.near_best) == (False, True, False)


OTHER = {"fingerprint": "u", "files": [{"name": "solo", "frames": 240_000}]}
MORE = {"fingerprint": "w", "files": [*TESTED, {"name": "lead", "frames": 480_000}]}
SPLIT = {
    "fingerprint": "x",
    "files": [{"name": "solo", "frames": 480_000, "train": [0, 300_000], "val": [320_000, 480_000]}],
}


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        (
            {"test": OTHER},
            "test files (A: 1 file, 480,000 samples: solo 480,000; B: 1 file, 240,000 samples: solo 240,000)",
        ),
        ({"test": MORE}, "test files (A: 1 file, 480,000 samples: no lead; B: 2 files, 960,000 samples: lead 480,000)"),
        (
            {"split": SPLIT},
            "split (A: 1 file, 480,000 samples: solo trains 0 to 400000 and validates 420000 to 480000; "
            "B: 1 file, 480,000 samples: solo trains 0 to 300000 and validates 320000 to 480000)",
        ),
        ({"split": {"fingerprint": "v", "files": FILES}}, "split (A: s; B: v)"),
        ({"config": {"data": {"channel": "left"}}}, "channel (A: None, B: left)"),
        ({"config": {"data": {"segment_length": 4800}}}, "segment_length (A: 144000, B: 4800)"),
        ({"config": {"data": {"dry": "OTHER"}}}, "dry audio (A: DRY, B: OTHER)"),
        ({"sample_rate": 44_100}, "sample rate (A: 48000, B: 44100)"),
        ({"config": {"data": {"data_to_use": 0.5}}}, "data_to_use (A: None, B: 0.5)"),
    ],
)
def test_unequal_protocols_are_flagged_and_not_averaged(tmp_path, changed, fact):
    make_run(tmp_path, seed=1, values=(0.1, 0.9))
    make_run(tmp_path, seed=2, values=(0.3, 0.9), **changed)
    comparison = compared(tmp_path)
    assert [(table.protocol, len(table.groups[0].runs)) for table in comparison.tables] == [("A", 1), ("B", 1)]
    assert all(table.groups[0].ranks["esr"] == 1 for table in comparison.tables)
    (flag,) = comparison.flags
    assert flag == f"ts9: unequal protocols, which are not averaged or ranked together; they differ in {fact}"
    assert flag in as_markdown(comparison)
    assert [row["protocol"] for row in csv.DictReader(as_csv(comparison).splitlines())] == ["A", "A", "B", "B"]


def test_devices_are_tables_of_their_own_and_ranks_go_over_them(tmp_path):
    for device, figures in (("ts9", (0.1, 0.2, 0.3)), ("klon", (0.5, 0.4, 0.6))):
        for model, esr in zip("abc", figures, strict=True):
            make_run(tmp_path, f"{device}/{model}/t", values=(esr, 0.9))
    # alone on its protocol, it is the first of one, and that says nothing
    make_run(tmp_path, "klon/c/t", seed=7, values=(0.5, 0.9), split=OTHER)
    comparison = compared(tmp_path)
    assert sorted(table.data for table in comparison.tables) == ["klon", "klon", "ts9"]
    assert comparison.overall.devices == 2
    esr = {label: places["esr"] for label, places in comparison.overall.ranks.items()}
    assert esr == {"a / t": 1.5, "b / t": 1.5, "c / t": 3}
    # all have one cosine
    assert {places["cosine"] for places in comparison.overall.ranks.values()} == {2}


def test_mean_ranks_are_of_models_that_every_device_has(tmp_path):
    for device, models in (("ts9", "abc"), ("klon", "ac")):
        for esr, model in enumerate(models, 1):
            make_run(tmp_path, f"{device}/{model}/t", values=(esr, 0.9))
    comparison = compared(tmp_path, ["esr"])
    # where b has its part, c would be third on one of them
    assert comparison.overall.ranks == {"a / t": {"esr": 1}, "c / t": {"esr": 2}}
    assert comparison.flags == ["mean ranks are of the models that all 2 data sets have, without b / t"]
    assert compared(tmp_path / "ts9", ["esr"]).overall is None


def test_settings_of_one_device_have_their_own_titles(tmp_path):
    make_run(tmp_path)
    make_run(tmp_path, "ts9/other/t", config={"data": {"setting": "D090"}})
    comparison = compared(tmp_path)
    assert sorted(table.title for table in comparison.tables) == ["ts9 (setting D050)", "ts9 (setting D090)"]
    assert comparison.flags == []


def test_other_lengths_of_training_are_told(tmp_path):
    make_run(tmp_path, "ts9/a/t", config={"trainer": {"max_steps": 451_000}})
    make_run(tmp_path, "ts9/b/t")
    make_run(tmp_path, "ts9/c/t")
    (flag,) = compared(tmp_path).flags
    assert flag == "ts9: trained for other lengths (max_steps 15000: b / t, c / t; max_steps 451000: a / t)"


def test_inverted_models_are_told(tmp_path):
    make_run(tmp_path, values=(3.9, -0.95))
    make_run(tmp_path, "ts9/loud/t", values=(9.0, -0.95))
    make_run(tmp_path, "ts9/noisy/t", values=(3.9, 0.1))
    comparison = compared(tmp_path)
    inverted = {group.model: group.is_inverted for group in comparison.tables[0].groups}
    assert inverted == {"tcn-45-s": True, "loud": False, "noisy": False}
    (flag,) = comparison.flags
    assert flag.startswith("ts9, tcn-45-s / blackbox: a run is inverted")


def test_what_is_not_finished_or_not_tested_is_left_out_with_the_cure(tmp_path):
    good = make_run(tmp_path)
    unfinished = make_run(tmp_path, seed=1, finished=False)
    (unfinished / "checkpoints/last.ckpt").touch()
    dead = make_run(tmp_path, seed=4, finished=False)
    (dead / "checkpoints").rmdir()
    changed = make_run(tmp_path, seed=5)
    record = json.loads((changed / "run.json").read_text())
    del record["test"]
    (changed / "run.json").write_text(json.dumps(record))
    untested = make_run(tmp_path, seed=2)
    (untested / "metrics.csv").unlink()
    old = make_run(tmp_path, seed=3)
    (old / "run.json").unlink()
    runs, skipped = read_runs([tmp_path, good])
    assert [run.folder for run in runs] == [good]
    assert skipped[unfinished] == f"unfinished: nablafx fit -c {unfinished / 'config.yaml'} --ckpt_path last"
    assert skipped[untested] == f"not tested: nablafx test -c {untested / 'config.yaml'}"
    assert skipped[dead] == f"unfinished, with no checkpoint to go on from: nablafx fit -c {dead / 'config.yaml'}"
    assert skipped[changed] == f"not tested since it was trained on: nablafx test -c {changed / 'config.yaml'}"
    assert "no run.json" in skipped[old]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", "{", "run.json cannot be read"),
        ("config.yaml", "a: [", "config.yaml cannot be read"),
        ("config.yaml", "- 1", "config.yaml holds no settings"),
        ("config.yaml", "data: 3", "config.yaml: data holds no settings"),
        ("run.json", '{"test": 3}', "run.json: test does not say which files it is of"),
        ("run.json", '{"test": {"fingerprint": "t", "files": [{"name": "solo"}]}}', "run.json: test does not say"),
        ("run.json", '{"test": {"fingerprint": "t", "files": []}, "split": []}', "run.json: split does not say"),
        ("metrics.csv", "file,esr\nall,much\n", "metrics.csv cannot be read"),
        ("metrics.csv", "file,esr\nsolo,0.1\n", "metrics.csv has no row 'all'"),
    ],
)
def test_a_damaged_run_is_named(tmp_path, file, content, message):
    folder = make_run(tmp_path)
    (folder / file).write_text(content)
    told = nablafx("compare", tmp_path, "--output", tmp_path / "out")
    assert (told.status, message in told.err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_places_without_runs_are_told(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        read_runs([tmp_path / "none"])
    with pytest.raises(UserError, match="there is no run in"):
        read_runs([tmp_path])


def test_the_command_prints_and_writes(tmp_path):
    for seed, esr in ((1, 0.011), (2, 0.013)):
        make_run(tmp_path / "logs", "ts9/lstm-32/tbptt", seed=seed, values=(esr, 0.99))
    make_run(tmp_path / "logs", values=(0.02, 0.98))
    out = tmp_path / "out"
    told = nablafx("compare", tmp_path / "logs", "--output", out)
    assert told.status == 0, told.err
    assert "0.012 ± 0.0014" in told.out
    assert "95 % confidence interval of the mean" in told.out
    rows = list(csv.DictReader((out / "comparison.csv").open()))
    assert [(row["model"], row["trainer"], row["metric"]) for row in rows] == [
        ("lstm-32", "tbptt", "esr"),
        ("lstm-32", "tbptt", "cosine"),
        ("tcn-45-s", "blackbox", "esr"),
        ("tcn-45-s", "blackbox", "cosine"),
    ]
    assert (rows[0]["n"], rows[0]["seeds"], rows[0]["mean"], rows[0]["values"]) == ("2", "1 2", "0.012", "0.011 0.013")
    assert (rows[2]["sd"], rows[2]["parameters"]) == ("", "7457")
    assert "| lstm-32 / tbptt | 7,457 | 2 | 0.012 ± 0.0014" in (out / "comparison.md").read_text()
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    # t is 1 for half of the values, with one degree of freedom
    assert nablafx("compare", tmp_path / "logs", "--output", out, "--confidence", "0.5").status == 0
    (row, *_) = csv.DictReader((out / "comparison.csv").open())
    assert (row["ci_low"], row["ci_high"], row["confidence"]) == ("0.011", "0.013", "0.5")
    unknown = nablafx("compare", tmp_path / "logs", "--metrics", "esr,loudness")
    assert (unknown.status, "there is no loudness; the runs have esr, cosine" in unknown.err) == (1, True)


def test_it_does_not_wait_for_torch(tmp_path):
    make_run(tmp_path / "logs")
    words = ["compare", str(tmp_path / "logs"), "--output", str(tmp_path / "out")]
    code = f"import sys; from nablafx.cli import main; main({words}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
