"""What configs name is imported if it is allowed, and else not at all; .env sets what it may."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import NamedTuple

import jsonargparse
import pytest
import yaml
from jsonargparse._common import parsing_settings

from nablafx import trust
from nablafx.effects import LSTM, TCN, Effect, GrayBox
from nablafx.training.build import build

from .cli import nablafx
from .conftest import ROOT

TRAP = """
import pathlib
pathlib.Path({sentinel!r}).touch()
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from nablafx.conditioning import FiLM
from nablafx.controllers import StaticController
from nablafx.effects import LSTM
from nablafx.processors import Gain
from nablafx.training.losses import ESRLoss
from nablafx.training.schedules import PlateauSchedule
class Net(LSTM): pass
class Part(Gain): pass
class Knob(StaticController): pass
class Bent(FiLM): pass
class Rated(ESRLoss): pass
class Paced(PlateauSchedule): pass
class Called(Callback): pass
class Logged(CSVLogger): pass
class Timed(SimpleProfiler): pass
class Device(CPUAccelerator): pass
class Alone(SingleDeviceStrategy): pass
class Half(MixedPrecision): pass
def hook(*_, **__): pass
"""


NUMBERS = count()


class Trap(NamedTuple):
    """A module that leaves a file when it is imported; no other test has it, for classes outlive their modules."""

    name: str
    sentinel: Path

    @property
    def sprung(self) -> bool:
        return self.sentinel.exists()


NONE = Trap("trap", Path())


@pytest.fixture
def trap(tmp_path, monkeypatch) -> Trap:
    """It lies where Python looks."""
    made = Trap(f"trap{next(NUMBERS)}", tmp_path / "sentinel")
    folder = tmp_path / made.name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "deep.py").write_text(TRAP.format(sentinel=str(made.sentinel)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_ROOT", str(tmp_path / "logs"))
    return made


def chain(**stage):
    return {"model": {"effect": {"class_path": "GrayBox", "init_args": {"stages": {"a": stage}}}}}


def of_trainer(**section):
    return {"trainer": section}


def with_loss(loss):
    return {"model": {"loss": {"class_path": "WeightedSum", "init_args": {"terms": {"a": {"loss": loss}}}}}}


def spec(name, **init_args):
    return {"class_path": f"trap.deep.{name}", "init_args": init_args}


TCN_OF = {"class_path": "TCN", "init_args": {"num_blocks": 2}}
LAMBDA = "lightning.pytorch.callbacks.LambdaCallback"
SEED = {"seed_everything": 1}
# every place and form in which a config can name a class or a function
FILES = {
    "a name alone": {"model": {"effect": "trap.deep.Net"}},
    "class_path": {"model": {"effect": spec("Net", hidden_size=2)}},
    "a processor": chain(processor="trap.deep.Part", controller="StaticController"),
    "class_path of a processor": chain(processor=spec("Part"), controller="StaticController"),
    "a controller": chain(processor="Gain", controller="trap.deep.Knob"),
    "class_path of a controller": chain(processor="Gain", controller=spec("Knob")),
    "a conditioning": {"model": {"effect": {**TCN_OF, "init_args": {"conditioning": "trap.deep.Bent"}}}},
    "dict_kwargs": {"model": {"effect": {**TCN_OF, "dict_kwargs": {"conditioning": spec("Bent")}}}},
    "a loss": with_loss("trap.deep.Rated"),
    "class_path of a loss": with_loss(spec("Rated")),
    "a schedule": {"model": {"effect": "TCN", "schedule": "trap.deep.Paced"}},
    "class_path of a schedule": {"model": {"effect": "TCN", "schedule": spec("Paced")}},
    "a callback": of_trainer(callbacks="trap.deep.Called"),
    "a list of callbacks": of_trainer(callbacks=["LearningRateMonitor", "trap.deep.Called"]),
    "class_path in a list": of_trainer(callbacks=[spec("Called")]),
    "a function for a callback": of_trainer(
        callbacks=[{"class_path": LAMBDA, "init_args": {"on_fit_start": "trap.deep.hook"}}]
    ),
    "a logger": of_trainer(logger=spec("Logged", save_dir="x")),
    "a list of loggers": of_trainer(logger=[spec("Logged", save_dir="x")]),
    "a profiler": of_trainer(profiler=spec("Timed")),
    "an accelerator": of_trainer(accelerator=spec("Device")),
    "a strategy": of_trainer(strategy=spec("Alone")),
    "a function for a strategy": of_trainer(
        strategy={"class_path": "DDPStrategy", "init_args": {"ddp_comm_hook": "trap.deep.hook"}}
    ),
    "a plugin": of_trainer(plugins=[spec("Half", precision="bf16-mixed", device="cpu")]),
    "a file within": of_trainer(callbacks=["part.yaml"]),
    "a section of its own": {"model": "section.yaml"},
}
WORDS = {
    "a word": ["--model.effect", "trap.deep.Net"],
    "a word of class_path": ["--model.effect.class_path", "trap.deep.Net"],
    "a word of json": ["--model.effect", '{"class_path": "trap.deep.Net"}'],
    "a word within": ["--model.effect", "TCN", "--model.effect.init_args.conditioning", "trap.deep.Bent"],
    "an appended word": ["--trainer.callbacks+", "trap.deep.Called"],
    "help": ["--model.effect.help", "trap.deep.Net"],
    "help of callbacks": ["--trainer.callbacks.help", "trap.deep.Called"],
}
WAYS = {
    **{name: (content, []) for name, content in FILES.items()},
    **{name: (SEED, words) for name, words in WORDS.items()},
}


def printed(content, words=(), *others, trap=NONE):
    """A fit of this config, up to where its settings would be printed; the classes are imported by then."""

    def named(text):
        return text.replace("trap.deep", f"{trap.name}.deep")

    Path("given.yaml").write_text(named(yaml.safe_dump(content)))
    Path("part.yaml").write_text(named(yaml.safe_dump(spec("Called"))))
    Path("section.yaml").write_text(named(yaml.safe_dump({"effect": spec("Net")})))
    words = ["-c", ROOT / "cfg/model/lstm/32.yaml", "-c", "given.yaml", *map(named, words), *others]
    try:
        return nablafx("fit", "--data.dry", "d", "--data.wet", "w", "--print_config", *words)
    except SystemExit as ending:
        return ending.code


@pytest.mark.parametrize(("content", "words"), WAYS.values(), ids=list(WAYS))
def test_a_foreign_class_is_not_even_imported(content, words, trap):
    refused = printed(content, words, trap=trap)
    assert not trap.sprung
    assert refused.status == 1
    assert refused.err.startswith(f"nablafx fit: a config names {trap.name}.deep.")
    assert f"the code of {trap.name} is run for no config unless you say so" in refused.err
    assert f"add --allow {trap.name}, or set NABLAFX_ALLOW={trap.name}" in refused.err
    # the attack is a real one, and whom the user trusts is served
    assert printed(content, words, "--allow", trap.name, trap=trap) == 0
    assert trap.sprung


@pytest.mark.parametrize("nested", [spec("Net"), {"x": spec("Net")}, [spec("Net")]], ids=["bare", "dict", "list"])
def test_what_has_no_type_builds_nothing(nested, trap):
    """Arguments that a class hands on unseen: they stay data."""
    strategy = {"class_path": "DDPStrategy", "dict_kwargs": {"anything": nested}}
    assert printed(of_trainer(strategy=strategy), trap=trap) == 0
    assert not trap.sprung


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.call",
        "nablafx.training.sinks.os.system",
        "nablafx.training.callbacks.sys.intern",
        "torch.nn.modules.module.torch.load",
        "torch.hub.load",
        "lightning.pytorch.profilers.advanced.os.remove",
        "builtins.eval",
        "jsonargparse.set_parsing_settings",
        "lightning.pytorch.loggers.WandbLogger",
        "lightning.pytorch.cli.LightningCLI",
        "nablafx.cli.main",
        "nablafx.training.wandb_sink.json.load",
    ],
)
def test_functions_behind_an_allowed_name_are_what_they_are(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callback = {"class_path": LAMBDA, "init_args": {"on_fit_start": path}}
    refused = printed(of_trainer(callbacks=[callback]))
    assert refused.status == 1
    assert "is run for no config" in refused.err
    # nobody is asked to trust the standard library
    standard = path.split(".")[-2] in ("os", "subprocess", "sys", "builtins", "json", "jsonargparse")
    assert ("--allow" in refused.err) != standard


def test_what_belongs_to_a_training_needs_no_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {
        **with_loss("torch.nn.L1Loss"),
        "trainer": {
            "callbacks": ["NormsCallback", "LearningRateMonitor", "lightning.pytorch.callbacks.DeviceStatsMonitor"],
            "logger": ["TensorBoardSink", {"class_path": "CSVLogger", "init_args": {"save_dir": "x"}}],
            "strategy": {"class_path": "DDPStrategy"},
            "profiler": {"class_path": "lightning.pytorch.profilers.SimpleProfiler"},
            "plugins": ["lightning.pytorch.plugins.environments.SLURMEnvironment", "TorchCheckpointIO"],
        },
    }
    content["model"]["loss"]["init_args"]["terms"]["b"] = {"loss": "auraloss.time.SISDRLoss"}
    assert printed(content) == 0


@pytest.mark.parametrize("words", [["--allow"], ["--allow", "--name"], ["--allow="], ["--allow", "*"], ["--allow=a-b"]])
def test_packages_have_names(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = printed(SEED, (), *words)
    assert refused.status == 1
    assert "such as" in refused.err


def test_a_config_or_a_dot_env_cannot_allow(trap, monkeypatch):
    others = "PATH=/elsewhere\nWANDB_BASE_URL=https://example.org\nLOG_ROOT=there\n"
    Path(".env").write_text(f"NABLAFX_ALLOW={trap.name}\n{others}")
    monkeypatch.delenv("LOG_ROOT")
    monkeypatch.delenv("NABLAFX_ALLOW", raising=False)
    net = {"model": {"effect": "trap.deep.Net"}}
    refused = printed(net, trap=trap)
    assert refused.status == 1
    assert "not read from .env, set them in the shell: NABLAFX_ALLOW, WANDB_BASE_URL" in refused.err
    assert "example.org" not in refused.err
    # the option is none of a file's
    assert printed({**net, "allow": trap.name}, trap=trap).status == 1
    assert not trap.sprung


def test_the_shell_allows_for_all_that_it_starts(trap, monkeypatch):
    monkeypatch.setenv("NABLAFX_ALLOW", f"other, {trap.name}.deep")
    assert printed({"model": {"effect": "trap.deep.Net"}}, trap=trap) == 0


def test_settings_that_a_dot_env_lists_are_those_that_are_read():
    lines = (ROOT / ".env.tmp").read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if line and not line.startswith("#")} <= set(trust.SETTINGS)


def test_other_programs_keep_their_own_rules(trap):
    """The rules of jsonargparse are the process's."""
    before = dict(parsing_settings)
    build("LSTM", 0)
    with pytest.raises(trust.ForeignClassError, match="Net"):
        build(f"{trap.name}.deep.Net", 0)
    assert parsing_settings == before
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Effect, "effect")
    assert parser.parse_object({"effect": f"{trap.name}.deep.Net"}).effect.class_path == f"{trap.name}.deep.Net"


def test_parts_hold_every_effect():
    assert all(kind.__module__.startswith(trust.PARTS) for kind in (LSTM, TCN, GrayBox))
    assert set(trust.PARTS) < set(trust.ALLOWED)
