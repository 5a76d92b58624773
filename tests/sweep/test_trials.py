"""The trials of a sweep: patterns, names, words of commands, and how far each is."""

from __future__ import annotations

import sys
from io import StringIO
from itertools import product
from pathlib import Path

import pytest
import yaml
from rich.console import Console as Terminal

from nablafx.cli import main
from nablafx.errors import UserError
from nablafx.shipped import find_config
from nablafx.sweep import board as module
from nablafx.sweep.board import Board, duration
from nablafx.sweep.patterns import configs, models, spread
from nablafx.sweep.spec import read_spec
from nablafx.sweep.states import STOP_FILE, runs_of
from nablafx.sweep.trials import Trial, named, table_of
from nablafx.training.runs import run_name
from tests.cli import nablafx
from tests.conftest import ROOT

from .layout import lay_out

STUDY = ROOT / "cfg/sweep/study.yaml"
LSTM = "ibanez-ts9/lstm-32+l1-0.5-mrstft-0.5/published-tbptt"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A sweep's file in an empty current directory, whose logs lie there."""
    monkeypatch.chdir(tmp_path)

    def call(**said) -> Path:
        file = tmp_path / "sweep.yaml"
        file.write_text(
            yaml.safe_dump({"data": "demo-ts9", "model": "lstm/32", "trainer": "smoke", **said}, sort_keys=False)
        )
        return file

    return call


def trials(file: Path) -> list[Trial]:
    return table_of(read_spec(str(file))).trials


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("a", ["a"]), ("a{,-b}", ["a", "a-b"]), ("{a,b}/{c,d}", ["a/c", "a/d", "b/c", "b/d"]), ("{a", ["{a"])],
)
def test_braces_are_a_shells(pattern, words):
    assert list(spread(pattern)) == words


def test_patterns_are_of_names_below_a_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = [f"model/tcn/{size}-{length}.yaml" for size in (250, 2500, 45) for length in "ls"]
    assert configs("model", ["tcn/*"]) == configs("model", ["model/tcn/*", "tcn/45-s"]) == sorted(sizes)
    assert configs("loss", ["l1-1-*"]) == ["loss/l1-1-mrstft-0.1.yaml"]
    everything = configs("model", ["*"])
    assert not any("with/" in name for name in everything)
    assert len(everything) == len([path for path in (ROOT / "cfg/model").rglob("*.yaml") if path.parent.name != "with"])
    assert models(["lstm/*+{fixed,tvcond}"]) == [
        (f"model/lstm/{size}.yaml", f"model/with/{overlay}.yaml")
        for overlay, size in product(("fixed", "tvcond"), (32, 96))
    ]
    Path("mine.yaml").write_text("data: {dry: a, wet: b}")
    assert configs("data", ["mine.yaml"]) == ["mine.yaml"]


@pytest.mark.parametrize(
    ("kind", "word", "message"),
    [
        ("model", "tcm/*", "no config below model/ is called tcm/*; the nearest are"),
        ("model", "tcn/45-x", "did you mean model/tcn/45-s.yaml"),
        ("model", "lstm/32+fixd", "did you mean model/with/fixed.yaml"),
    ],
)
def test_an_unknown_name_is_told_with_its_neighbours(kind, word, message):
    with pytest.raises(UserError) as told:
        models([word]) if kind == "model" else configs(kind, [word])
    assert message in str(told.value)


def test_every_combination_is_a_trial(write):
    found = trials(
        write(
            data=["demo-ts9", "demo-comp"],
            model="lstm/{32,96}",
            loss="l1-1*",
            seeds=[3, 5],
            settings={"model.lr": [0.1, 0.2], "trainer.max_epochs": 7},
        )
    )
    assert len(found) == len({(trial.name, trial.seed) for trial in found}) == 2 * 2 * 2 * 2 * 2
    assert found[0] == Trial(
        "demo-comp/lstm-32".replace("comp", "ts9") + "+l1-1-mrstft-0.1+lr-0.1/smoke+max_epochs-7",
        3,
        ("data/demo-ts9.yaml", "model/lstm/32.yaml", "loss/l1-1-mrstft-0.1.yaml", "trainer/smoke.yaml"),
        (("model.lr", "0.1"), ("trainer.max_epochs", "7")),
    )


def test_the_words_are_those_of_fit(write):
    (trial,) = trials(write(settings={"data.setting": "--name=evil"}))
    files = ["-c", "data/demo-ts9.yaml", "-c", "model/lstm/32.yaml", "-c", "trainer/smoke.yaml"]
    # a value stays one: it is no option
    rest = [
        "--data.setting=--name=evil",
        "--seed_everything",
        "42",
        "--name",
        "demo-ts9/lstm-32+setting---name-evil/smoke",
    ]
    assert trial.words == [*files, *rest]


def test_the_parser_of_fit_takes_them(write, capsys):
    """Name, seed and settings arrive."""
    (trial,) = trials(write(settings={"model.lr": 0.25, "data.setting": "D020_T050"}))
    with pytest.raises(SystemExit):
        main(["fit", *trial.words, "--print_config"])
    said = yaml.safe_load(capsys.readouterr().out)
    assert (said["name"], said["seed_everything"]) == (trial.name, 42)
    assert (said["model"]["lr"], said["data"]["setting"]) == (0.25, "D020_T050")


def test_without_settings_the_name_is_that_of_a_fit_by_hand(write):
    (trial,) = trials(write())
    assert trial.name == run_name([find_config(file) for file in trial.files]) == "demo-ts9/lstm-32/smoke"
    assert named("a/b/c", {"model.lr": 1e-5, "early_stopping.patience": 3}) == "a/b+lr-1e-05/c+patience-3"


def test_the_trainer_may_follow_the_model(write):
    found = trials(write(model=["lstm/32+fixed", "tcn/45-s"], trainer={"lstm/*": "tbptt", "*": "blackbox"}))
    assert [trial.files[-1] for trial in found] == ["trainer/tbptt.yaml", "trainer/blackbox.yaml"]
    with pytest.raises(UserError, match=r"no pattern of lstm/\* fits tcn/45-s"):
        trials(write(model="tcn/45-s", trainer={"lstm/*": "tbptt"}))


def test_what_is_excluded_is_counted_and_a_pattern_must_exclude_something(write):
    table = table_of(read_spec(str(write(data=["demo-ts9", "demo-comp"], exclude="demo-ts9/*", seeds=2))))
    assert [trial.title for trial in table.trials] == [f"demo-comp/lstm-32/smoke, seed {seed}" for seed in (42, 43)]
    assert table.excluded == ["demo-ts9/lstm-32/smoke"]
    with pytest.raises(UserError, match="no trial is called demo-tsx"):
        trials(write(exclude="demo-tsx/*"))
    with pytest.raises(UserError, match="every trial is excluded"):
        trials(write(exclude="*"))


def test_a_search_draws_for_every_model(write):
    search = {"samples": 3, "parameters": {"model.lr": {"log": [0.001, 0.1]}}}
    found = trials(write(model="lstm/{32,96}", search=search))
    rates = [dict(trial.settings)["model.lr"] for trial in found]
    assert len(set(rates)) == 3
    assert rates[:3] == rates[3:]
    assert all(f"+lr-{float(rate):g}/" in trial.name for rate, trial in zip(rates, found, strict=True))


def test_two_of_one_name_are_refused(write):
    with pytest.raises(UserError, match="two trials would be called"):
        trials(write(settings={"model.lr": [0.123456789, 0.123456788]}))


def test_the_study_is_the_published_one():
    """Devices × models, as the published comparison has them."""
    found = trials(STUDY)
    nets = 2 + 2 * 6 * 2 + 2 * 2  # LSTM; TCN and GCN of six sizes, S4 of two, with and without TFiLM
    chains = 4 * 2 + 11 * 8 + 3 * 8  # of 4 compressors, 11 drives and amplifiers, 3 fuzzes
    parametric = 2 * (2 * 2 + 4 * 4 + 8)
    assert len(found) == len({trial.name for trial in found}) == 18 * nets + chains + parametric == 716
    devices = {path.stem for path in (ROOT / "cfg/data").glob("*.yaml") if not path.stem.startswith("demo-")}
    assert {trial.files[0] for trial in found} == {f"data/{device}.yaml" for device in devices}
    knobs = {
        device
        for device in devices
        if "controls" in yaml.safe_load((ROOT / f"cfg/data/{device}.yaml").read_text())["data"]
    }
    steered = {trial.name.split("/")[0] for trial in found if "-cond+" in trial.name or "+fixed" in trial.name}
    assert steered == knobs
    kinds = {"+tvcond": "tbptt-tvcond", "/lstm-": "tbptt", "/graybox-": "graybox", "": "blackbox"}
    for trial in found:
        kind = next(name for part, name in kinds.items() if part in trial.name)
        assert trial.files[-1] == f"trainer/published-{kind}.yaml"


def test_the_table_says_how_far_each_run_is(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_ROOT", str(tmp_path))
    other = LSTM.replace("32", "96")
    lay_out(tmp_path, LSTM, 42, finished=True, tested=True)
    lay_out(tmp_path, LSTM, 43)
    lay_out(tmp_path, other, 42, finished=True)
    lay_out(tmp_path, other, 43, begun=False)
    (lay_out(tmp_path, other, 44) / STOP_FILE).touch()
    told = nablafx("sweep", STUDY, "--list", "ibanez-ts9/lstm", "--seeds", "3")
    assert told.status == 0, told.err
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.out.splitlines() if "│" in line]
    model = "+l1-0.5-mrstft-0.5"
    assert rows == [
        ["ibanez-ts9", f"lstm-32{model}", "published-tbptt", "done", "begun", "-"],
        ["ibanez-ts9", f"lstm-96{model}", "published-tbptt", "trained", "-", "stopped"],
    ]
    last = told.out.splitlines()[-1]
    assert last.startswith("2 experiments, 6 trials: 2 not begun, 1 begun, 1 trained, 1 stopped early, 1 done; ")
    assert last.endswith(" excluded")


def test_of_several_runs_of_a_seed_the_farthest_counts(tmp_path):
    far = lay_out(tmp_path, "a/b/c", 42, finished=True, tested=True)
    lay_out(tmp_path, "a/b/c", 42)
    (lay_out(tmp_path, "a/b/c", 42) / "run.json").write_text("{")
    assert runs_of(tmp_path, "a/b/c") == {42: ("done", far)}


def test_a_pattern_that_nothing_has_is_told():
    told = nablafx("sweep", STUDY, "reverb", "--list")
    assert (told.status, "no trial has reverb in its name" in told.err) == (1, True)


def test_without_ray_the_way_to_it_is_told(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "nablafx.sweep.cluster", raising=False)
    told = nablafx("sweep", write())
    assert (told.status, "pip install -e '.[sweep]'" in told.err) == (1, True)
    assert nablafx("sweep", write(), "--list").status == 0


class Console:
    """Takes lines, and is no terminal."""

    is_terminal = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def print(self, text: str, **_: object) -> None:
        self.lines.append(text.partition(" ")[2])


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(59.6, "60 s"), (119, "119 s"), (130, "2 min"), (3600, "1 h"), (9000, "2 h 30 min"), (90000, "1 d 1 h")],
)
def test_durations(seconds, told):
    assert duration(seconds) == told


def test_the_board_counts_and_knows_the_time_left(monkeypatch):
    """From what trials of the same model took, on so many workers."""
    monkeypatch.setattr("rich.progress.Progress", Bars)
    console = Console()
    todo = [Trial(f"{data}/{model}/t", 42, ()) for model in ("slow", "fast") for data in "abc"]
    board = module.Board(todo, 4, console)
    for trial in (todo[0], todo[3]):
        board.begin(trial.name, trial.seed)
    assert board.seconds_left() is None
    board.end("a/slow/t", 42, {"state": "done", "seconds": 100.0})
    assert board.seconds_left() == 2 * 100 + 3 * 100  # one runs; nothing is known of the other model
    board.begin("b/slow/t", 42)
    board.begin("c/slow/t", 42)
    board.end("a/fast/t", 42, {"state": "done", "seconds": 10.0})
    assert board.seconds_left() == (2 * 100 + 2 * 10) / 2  # two run
    board.lose("b/slow/t", 42)
    board.end("b/slow/t", 42, {"state": "failed", "problem": "exit status 3", "log": "x.log"})
    assert console.lines[2] == "done    a/slow/t, seed 42 (5 of 10; about 8 min left)"
    assert console.lines[-1] == (
        "failed  b/slow/t, seed 42: exit status 3; x.log (7 of 10; 1 failed, about 2 min left)"
    )


class Bars:
    def __init__(self, *_: object, **__: object) -> None:
        self.count = 0

    def add_task(self, *_: object, **__: object) -> int:
        self.count += 1
        return self.count

    def update(self, *_: object, **__: object) -> None: ...

    def remove_task(self, *_: object) -> None: ...


def test_bars_are_drawn_on_a_terminal():
    out = StringIO()
    board = Board([Trial("a/b/c", 42, ())], 1, Terminal(file=out, force_terminal=True, width=120))
    with board.progress:
        board.begin("a/b/c", 42)
        board.tell("a/b/c", 42, {"step": 1200, "value": 0.25})
        board.progress.refresh()
        board.end("a/b/c", 42, {"state": "done", "seconds": 3.0})
    assert "a/b/c, seed 42" in out.getvalue()
    assert "step 1,200: 0.25" in out.getvalue()
    assert "2/2" in out.getvalue()
