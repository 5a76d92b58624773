"""A sweep's YAML: what it may say, and how it is told what it may not."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import yaml
from scipy import stats

from nablafx.errors import UserError
from nablafx.sweep.samples import Range, draws
from nablafx.sweep.spec import read_spec
from tests.cli import nablafx

LEAST = {"data": "demo-ts9", "model": "lstm/32", "trainer": "smoke"}
RANGE = {"model.lr": {"log": [0.001, 0.1]}}


@pytest.fixture
def read(tmp_path):
    def call(said):
        file = tmp_path / "sweep.yaml"
        file.write_text(said if isinstance(said, str) else yaml.safe_dump(said))
        return read_spec(str(file))

    return call


def test_defaults(read):
    spec = read(LEAST)
    (grid,) = spec.grids
    assert (grid.data, grid.model, grid.trainer, grid.loss) == (("demo-ts9",), ("lstm/32",), ("smoke",), ())
    assert (grid.seeds, spec.cpus, spec.gpus, spec.retries, spec.search) == ((42,), 1, None, 1, None)


def test_grids_take_what_they_do_not_say_from_above(read):
    spec = read({**LEAST, "seeds": 2, "exclude": "a", "grids": [{"model": "tcn/*"}, {"seeds": [7], "exclude": ["b"]}]})
    first, second = spec.grids
    assert (first.model, first.data, first.seeds, first.exclude) == (("tcn/*",), ("demo-ts9",), (42, 43), ())
    assert (second.model, second.seeds, second.exclude, spec.exclude) == (("lstm/32",), (7,), ("b",), ("a",))
    assert [grid.seeds for grid in spec.with_seeds(3).grids] == [(42, 43, 44)] * 2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("a: [", "cannot be read"),
        ("[a, b]", "the sweep is ['a', 'b']; it needs keys"),
        ({**LEAST, "modle": "x"}, "the sweep has no key 'modle'; did you mean 'model'?"),
        ({**LEAST, "zebra": "x"}, "the sweep has no key 'zebra'; there are data, model"),
        ({"data": "demo-ts9"}, "the sweep lacks model, trainer; name configs"),
        ({**LEAST, "grids": [{"devices": 1}]}, "grids[0] has no key 'devices'"),
        ({**LEAST, "grids": {}}, "grids is {}; it needs a list"),
        ({**LEAST, "model": 32}, "model is 32; it needs a name or pattern"),
        ({**LEAST, "seeds": "three"}, "seeds is 'three'; it needs a whole number, 1 or more"),
        ({**LEAST, "seeds": [1, -1]}, "seeds is -1"),
        ({**LEAST, "seeds": True}, "seeds is True"),
        ({**LEAST, "retries": 0.5}, "retries is 0.5"),
        ({**LEAST, "resources": {"cpu": 1}}, "resources has no key 'cpu'; did you mean 'cpus'?"),
        ({**LEAST, "resources": {"gpus": 1.5}}, "resources.gpus is 1.5; it needs a part of a GPU"),
        ({**LEAST, "settings": {"modle.lr": 1}}, "'modle.lr' is no setting, as model.lr is; did you mean model?"),
        ({**LEAST, "settings": {"model": 1}}, "'model' is no setting"),
        ({**LEAST, "settings": {"model.lr=1 --x": 1}}, "is no setting"),
        ({**LEAST, "settings": {"model.effect": "os.system"}}, "os.system could name code to import"),
        ({**LEAST, "settings": {"trainer.logger": [["a.B"]]}}, "a.B could name code to import"),
        ({**LEAST, "settings": {"model.effect": {"class_path": "x"}}}, "it needs numbers or words"),
        ({**LEAST, "settings": {"model.effect": "{class_path: os.system}"}}, "it needs a plain word"),
        ({**LEAST, "search": {}}, "search.parameters is None; it needs settings with ranges"),
        (
            {**LEAST, "search": {"parameters": RANGE, "sample": 3}},
            "search has no key 'sample'; did you mean 'samples'?",
        ),
        ({**LEAST, "search": {"parameters": RANGE, "samples": 0}}, "search.samples is 0"),
        ({**LEAST, "search": {"parameters": RANGE, "mode": "least"}}, "search.mode is 'least'; it needs min or max"),
        ({**LEAST, "search": {"parameters": RANGE, "asha": {}}}, "search.asha lacks grace_steps"),
        ({**LEAST, "search": {"parameters": {"model.lr": [1, 2]}}}, "parameters.model.lr is [1, 2]; it needs {log:"),
        ({**LEAST, "search": {"parameters": {"model.lr": {"log": [0, 1]}}}}, "two numbers above 0"),
        ({**LEAST, "search": {"parameters": {"model.lr": {"linear": [2, 1]}}}}, "the lower one first"),
        ({**LEAST, "search": {"parameters": {"model.effect": {"choice": ["os.system"]}}}}, "could name code"),
        (
            {**LEAST, "data": ["demo-ts9", "demo-comp"], "search": {"parameters": RANGE, "asha": {"grace_steps": 1}}},
            "search.asha compares losses, which needs one data; it got demo-comp, demo-ts9",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_key(said, message, read, tmp_path):
    with pytest.raises(UserError) as told:
        read(said)
    assert str(told.value).startswith(f"{tmp_path}/sweep.yaml")
    assert message in str(told.value)


def test_a_word_that_looks_like_a_number_is_told_with_the_cure(read):
    said = "{data: a, model: b, trainer: c, search: {parameters: {model.lr: {log: [1e-4, 0.1]}}}}"
    with pytest.raises(UserError, match=r"write 1\.0e-4"):
        read(said)


def test_no_file_is_told(tmp_path):
    told = nablafx("sweep", tmp_path / "none.yaml")
    assert (told.status, "there is no config" in told.err) == (1, True)


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_draws_are_uniform_on_their_scale(kind):
    """Kolmogorov and Smirnov do not object, and the ends are kept."""
    low, high = 1e-3, 10.0
    values = [one["a"] for one in draws({"a": Range(kind, (low, high))}, 2000, seed=1)]
    assert low <= min(values) < max(values) <= high
    law = stats.uniform(low, high - low) if kind == "linear" else stats.loguniform(low, high)
    assert stats.kstest(values, law.cdf).pvalue > 0.01
    assert all(value == float(f"{value:.4g}") for value in values)


def test_draws_repeat_and_more_begin_with_the_fewer():
    ranges = {"b": Range("log", (1.0, 2.0)), "a": Range("choice", ("x", "y"))}
    few, many = draws(ranges, 5, seed=3), draws(dict(reversed(ranges.items())), 20, seed=3)
    assert many[:5] == few
    assert draws(ranges, 5, seed=4) != few
    assert {one["a"] for one in many} == {"x", "y"}
    chance = random.Random(3)
    assert few[0]["a"] == chance.choice(("x", "y"))
    assert few[0]["b"] == pytest.approx(math.exp(chance.uniform(0, math.log(2))), rel=1e-3)


def test_committed_sweeps_say_what_can_be_read(root):
    for file in sorted(Path(root, "cfg/sweep").glob("*.yaml")):
        assert read_spec(str(file)).grids
