"""Runs side by side: what is averaged, what is ranked, what is kept apart and said."""

from __future__ import annotations

import csv
import math

import pytest

from nablafx.errors import UserError
from nablafx.report.compare import compare
from nablafx.report.runs import read_runs
from nablafx.report.tables import as_csv, as_markdown
from tests.cli import nablafx

from .made import make_run


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
    # of one name, they are told apart by their folders
    assert other.label == "tcn-45-s / blackbox (version_3)"
    assert repeated.label == "tcn-45-s / blackbox (version_0, version_1, version_2)"


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


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"split": OTHER}, "split (A: 1 files, 480,000 samples (s), B: 1 files, 240,000 samples (u))"),
        ({"test": OTHER}, "test files (A: 1 files, 480,000 samples (t), B: 1 files, 240,000 samples (u))"),
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
    assert comparison.mean_ranks == {"a / t": (1.5, 2), "b / t": (1.5, 2), "c / t": (3, 2)}


def test_other_lengths_of_training_are_told(tmp_path):
    make_run(tmp_path, "ts9/a/t", config={"trainer": {"max_steps": 451_000}})
    make_run(tmp_path, "ts9/b/t")
    (flag,) = compared(tmp_path).flags
    assert flag == "ts9: trained for other lengths (a / t: max_steps 451000; b / t: max_steps 15000)"


def test_inverted_models_are_told(tmp_path):
    make_run(tmp_path, values=(3.9, -0.95))
    comparison = compared(tmp_path)
    assert comparison.tables[0].groups[0].is_inverted
    assert "a run is inverted" in comparison.flags[0]


def test_what_is_not_finished_or_not_tested_is_left_out_with_the_cure(tmp_path):
    good = make_run(tmp_path)
    unfinished = make_run(tmp_path, seed=1, finished=False)
    untested = make_run(tmp_path, seed=2)
    (untested / "metrics.csv").unlink()
    old = make_run(tmp_path, seed=3)
    (old / "run.json").unlink()
    runs, skipped = read_runs([tmp_path, good])
    assert [run.folder for run in runs] == [good]
    assert skipped[unfinished] == f"unfinished: nablafx fit -c {unfinished / 'config.yaml'} --ckpt_path last"
    assert skipped[untested] == f"not tested: nablafx test -c {untested / 'config.yaml'}"
    assert "no run.json" in skipped[old]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", "{", "run.json cannot be read"),
        ("config.yaml", "a: [", "config.yaml cannot be read"),
        ("config.yaml", "- 1", "config.yaml holds no settings"),
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
    assert "[confidence interval of the mean]" in told.out
    rows = list(csv.DictReader((out / "comparison.csv").open()))
    assert [(row["model"], row["metric"]) for row in rows] == [
        ("lstm-32 / tbptt", "esr"),
        ("lstm-32 / tbptt", "cosine"),
        ("tcn-45-s / blackbox", "esr"),
        ("tcn-45-s / blackbox", "cosine"),
    ]
    assert (rows[0]["n"], rows[0]["seeds"], rows[0]["mean"], rows[0]["values"]) == ("2", "1 2", "0.012", "0.011 0.013")
    assert (rows[2]["sd"], rows[2]["parameters"]) == ("", "7457")
    assert "| lstm-32 / tbptt | 7,457 | 2 | 0.012 ± 0.0014" in (out / "comparison.md").read_text()
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    unknown = nablafx("compare", tmp_path / "logs", "--metrics", "esr,loudness")
    assert (unknown.status, "there is no loudness; the runs have esr, cosine" in unknown.err) == (1, True)
