"""Every committed config is short, says what it is, and leaves out what is so anyway."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nablafx import conditioning, controllers, effects, processors
from nablafx.cli import main
from nablafx.training import losses, schedules, sinks

from ..cli import config
from ..conftest import ROOT
from .listed import CFG

ALL = sorted(CFG.rglob("*.yaml"))
PACKAGES = (effects, conditioning, processors, controllers, losses, schedules, sinks)
# arguments that hold parts by name, and what the parts are
PARTS = {"terms": losses.Term, "stages": effects.Stage}


def place(file: Path) -> str:
    return str(file.relative_to(CFG))


@pytest.mark.parametrize("file", ALL, ids=place)
def test_configs_are_short_and_say_what_they_are(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith("# ")
    assert len(lines[0]) <= 102
    assert not any("#" in line for line in lines[1:])


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def arguments(cls: type) -> dict[str, Any]:
    """The defaults of a class, without those that say only that nothing is chosen."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    return {name: value for name, value in defaults.items() if value is not None}


def repeated(given: Any, defaults: dict[str, Any], where: str = "") -> Iterator[str]:
    """Keys whose values are the defaults, of the command line or of the class that takes them."""
    for key, value in given.items() if isinstance(given, dict) else ():
        path = f"{where}.{key}".lstrip(".")
        if isinstance(value, dict) and "class_path" in value:
            name = value["class_path"]
            (cls,) = [getattr(package, name) for package in PACKAGES if hasattr(package, name)]
            yield from repeated(value.get("init_args", {}), arguments(cls), path)
        elif key in PARTS:
            for name, part in value.items():
                yield from repeated(part, arguments(PARTS[key]), f"{path}.{name}")
        elif isinstance(value, dict):
            below = defaults.get(key)
            yield from repeated(value, below if isinstance(below, dict) else {}, path)
        elif key in defaults and plain(defaults[key]) == plain(value):
            yield path


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    """What the command line takes where no config says anything."""
    out = io.StringIO()
    # a model whose learning rate is the default
    words = [*config(ROOT, "model/tcn/45-s"), "--data.dry", "x", "--data.wet", "x", "--print_config"]
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        main(["fit", *words])
    return yaml.safe_load(out.getvalue())


@pytest.mark.parametrize("file", ALL, ids=place)
def test_no_config_repeats_a_default(file, defaults):
    assert list(repeated(yaml.safe_load(file.read_text()), defaults)) == []


def test_a_repeated_default_is_seen(defaults):
    given = yaml.safe_load("""
        model:
          lr: 0.005
          effect: {class_path: TCN, init_args: {num_blocks: 5, kernel_size: 9, conditioning: {class_path: TVFiLM}}}
          loss: {class_path: WeightedSum, init_args: {terms: {esr: {loss: ESRLoss, weight: 1}}}}
        data: {dry: here, batch_size: 16}
        trainer: {max_steps: -1, max_epochs: 3}
        early_stopping: {patience: 50}
    """)
    assert list(repeated(given, defaults)) == [
        "model.lr",
        "model.effect.num_blocks",
        "model.loss.terms.esr.weight",
        "data.batch_size",
        "trainer.max_steps",
        "early_stopping.patience",
    ]
    gain = {"class_path": "Gain", "init_args": {"gain_db": [-32, 32]}}
    chain = {"class_path": "GrayBox", "init_args": {"stages": {"a": {"processor": gain}}}}
    assert list(repeated({"model": {"effect": chain}}, defaults)) == ["model.effect.stages.a.processor.gain_db"]
