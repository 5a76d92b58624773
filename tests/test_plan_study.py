"""The reckoning of what the study takes: its algebra, and that docs/scale.md says what it prints."""

from __future__ import annotations

import importlib
import random
import sys
from types import ModuleType

import pytest

from nablafx.sweep.spec import read_spec
from nablafx.sweep.trials import table_of

from .conftest import ROOT


@pytest.fixture
def plan(monkeypatch) -> ModuleType:
    """scripts/plan_study.py."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("plan_study")


def test_hours_of_a_trial(plan):
    """15,000 batches of 36 ms are 540 s; a tenth of that for validation, and 66 s besides: 660 s."""
    assert plan.Inputs(15_000, 0.1, 66, 4, 2).hours(36) == pytest.approx(660 / 3600)


def test_what_was_timed_is_taken_and_what_was_not_is_scaled(plan):
    times = plan.PUBLISHED_MS
    assert all(plan.time_of(model, times) == ms for model, ms in times.items())
    scaled = {
        "tcn/45-l": 31 * 10 / 5,
        "gcn/2500-s": 105 * 5 / 10,
        "gcn/250-l+tfilm": 81 * 49 / 31,
        "s4/s+tfilm": 73 * 181 / 154,
        "tcn/45-s+tvfilm": 31 * 65 / 62,
        "tcn/45-s+film": 31 * 65 / 62,
        "lstm/32+tvcond": 398 * 400 / 361,
        "lstm/32+fixed": 398,
        "graybox/comp-inv": 40,
        "graybox/fuzz-mlp-fir-inv-cond": 44 * 44 / 52,
    }
    assert {model: plan.time_of(model, times) for model in scaled} == pytest.approx(scaled)
    with pytest.raises(KeyError, match="no time is known for rnn/1"):
        plan.time_of("rnn/1", times)


def test_every_model_of_the_study_has_a_time(plan):
    trials = table_of(read_spec(str(ROOT / "cfg/sweep/study.yaml"))).trials
    models = {plan.model_of(trial.files) for trial in trials}
    assert "tcn/45-s+ttfilm" in models
    for times in (plan.PUBLISHED_MS, plan.cpu_times(ROOT / "docs/benchmarks.md")):
        assert all(plan.time_of(model, times) > 0 for model in models)


def test_cpu_times_are_those_of_the_page(plan):
    """A batch of 16 × 144,000 samples is twelve of 4 × 48,000."""
    times = plan.cpu_times(ROOT / "docs/benchmarks.md")
    assert times["tcn/45-s"] == pytest.approx(68.4 * 12)
    assert len(times) == 30


def test_given_times_go_over_the_published(plan, tmp_path):
    (tmp_path / "mine.csv").write_text("model,ms\ntcn/45-s,10\n")
    times = plan.given_times(tmp_path / "mine.csv")
    assert (times["tcn/45-s"], times["s4/s"]) == (10, 73)
    assert plan.time_of("tcn/45-l", times) == 20


def test_makespan(plan):
    """One slot: the sum. A slot each: the longest. Equal jobs: rounds. Longest first keeps Graham's bound."""
    assert plan.makespan([3, 1, 2], 1) == 6
    assert plan.makespan([3, 1, 2], 3) == plan.makespan([3, 1, 2], 9) == 3
    assert plan.makespan([2] * 10, 4) == 2 * 3
    assert plan.makespan([1, 1, 2], 2) == 3  # in this order; longest first it is 2
    chance = random.Random(0)
    for _ in range(50):
        jobs, slots = sorted((chance.expovariate(1) for _ in range(chance.randint(1, 60))), reverse=True), 7
        least = max(sum(jobs) / slots, jobs[0])
        assert least - 1e-9 <= plan.makespan(jobs, slots) <= sum(jobs) / slots + jobs[0]


def test_sharing_without_gain_takes_as_long(plan):
    """Four at a quarter of the speed; with a gain of two, half of it."""
    alone, bound = [1.0] * 64, 8.0
    for gain, hours in ((1, "8.0 h"), (2, "4.0 h")):
        (row,) = plan.wall_rows(alone, plan.Inputs(1, 0, 0, 4, gain), [8])
        assert row == ["8", f"{bound:.1f} h", "8.0 h", "8.0 h", hours]


def test_checkpoints(plan):
    """tcn/45-s: 10 batches of 31 ms are 0.31 s; 62 runs save 200 times a second."""
    rows = {row[0]: row[1:] for row in plan.checkpoint_rows(plan.PUBLISHED_MS, 10, [62])}
    assert rows["tcn/45-s"] == ["115 kB", "0.31 s", f"200 a s, {200 * 115_473 / 1e6:.1f} MB/s"]


CPU = ["--cpu", "docs/benchmarks.md", "--share", "1", "--gain", "1"]


@pytest.mark.parametrize("words", [[], ["--batches", "5000"], CPU], ids=" ".join)
def test_the_page_says_what_is_printed(words, plan, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["plan_study.py", *words])
    plan.main()
    out = capsys.readouterr().out
    assert "8,592 trials of 80 models" in out
    families = [line.split(" | ") for line in out.split("Wall time")[0].splitlines() if line.endswith(" h |")]
    total = float(out.split(" models: ")[1].split()[0].replace(",", ""))
    assert sum(float(row[2].split()[0].replace(",", "")) for row in families) == pytest.approx(total, abs=len(families))
    assert sum(int(row[1].replace(",", "")) for row in families) == 8592
    page = (ROOT / "docs/scale.md").read_text()
    assert (out.splitlines()[1] in page) == (words != ["--batches", "5000"])
    if not words:
        assert all(line in page for line in out.splitlines() if line.startswith("|"))
    else:
        assert all(line in page for line in out.partition("Wall time")[2].splitlines()[4:7])
