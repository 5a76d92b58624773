"""A model from anybody's .nam file. What the file says is never trusted: it holds numbers, and runs nothing."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from nablafx.errors import UserError
from nablafx.export.model import Model
from nablafx.export.nam.base import NETS, Net, make_net
from nablafx.export.nam.fields import Fields, is_finite, read_json
from nablafx.export.nam.metadata import facts_of, name_of
from nablafx.export.nam.wavenet import NamWaveNet
from nablafx.training.build import check_state

OLDEST, NEWEST = (0, 5, 0), (0, 7)
ASSUMED_RATE = 48_000
"""Hz, of files that name none."""
FASTEST_RATE = 1_000_000
CONTAINER = "SlimmableContainer"


def read_nam(path: str | Path) -> Model:
    """A WaveNet, LSTM, ConvNet or Linear, or the largest model of a SlimmableContainer.

    Its state None is what NAM's players start from: silence for ever, for an LSTM from the state in the file on.

    Raises:
        UserError: it is damaged, of a newer version of the format, or no such file.
    """
    path = Path(path)
    try:
        fields = read_json(path)
        document = _largest(fields)
        net = _build(document)
        if net.outputs != 1:
            raise ValueError(f"it has {net.outputs} outputs, and an effect is mono")
        rate = _rate(fields) or _rate(document) or ASSUMED_RATE
    except RecursionError as error:
        raise UserError(f"{path} cannot be read as a .nam file: its parts lie too deep in each other") from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read as a .nam file: {error}") from error
    # a container may leave it to its models
    facts, name = facts_of(fields) or facts_of(document), name_of(fields) or name_of(document) or path.stem
    config = _without_weights(document).content["config"]
    described = {"class_path": f"nablafx.export.nam.{type(net).__name__}", "init_args": {"config": config}}
    return Model(net.eval(), rate, (), name, described, facts)


def _largest(fields: Fields) -> Fields:
    """The model itself, where an object holds several of one device that differ in size, and the same within it."""
    _check_version(fields)
    if fields.text("architecture", [*NETS, CONTAINER]) == CONTAINER:
        models = fields.object("config").objects("submodels")
        return _largest(max(models, key=lambda model: model.number("max_value")).object("model"))
    config = fields.object("config")
    if "condition_dsp" not in config:
        return fields
    condition = _largest(config.object("condition_dsp")).content
    return fields.changed(config={**config.content, "condition_dsp": condition})


def _check_version(fields: Fields) -> None:
    version = fields.text("version")
    if not re.fullmatch(r"\d{1,9}\.\d{1,9}\.\d{1,9}", version):
        raise ValueError(f"{fields.place('version')} is {version!r}, and should be of three numbers, such as 0.7.0")
    numbers = tuple(map(int, version.split(".")))
    if numbers < OLDEST:
        raise ValueError(f"it is of version {version} of the format, before 0.5.0, which NAM's players read no more")
    if numbers[:2] > NEWEST:
        raise ValueError(
            f"it is of version {version} of the format, and 0.7 is the newest that is known here: update nablafx, or "
            "export the model for an older version"
        )


def _build(document: Fields) -> Net:
    # without memory, so that sizes in the file cost nothing until there are weights for them
    with torch.device("meta"):
        net = make_net(_without_weights(document))
    check_state(net)
    _fill(net, document)
    return net


def _without_weights(document: Fields) -> Fields:
    config = document.object("config")
    if "condition_dsp" in config:
        condition = _without_weights(config.object("condition_dsp")).content
        config = config.changed(condition_dsp=condition)
    kept = {"architecture": document.text("architecture"), "config": config.content}
    return Fields(kept, document.place(""))


def _fill(net: Net, document: Fields) -> None:
    net.fill(_weights(document))
    if isinstance(net, NamWaveNet) and net.condition is not None:
        _fill(net.condition, document.object("config").object("condition_dsp"))


def _weights(document: Fields) -> Tensor:
    given = document.items("weights")
    if not all(map(is_finite, given)):
        raise ValueError(f"{document.place('weights')} are not all numbers that are finite in 32 bits")
    return torch.tensor(given, dtype=torch.float32)


def _rate(fields: Fields) -> int | None:
    if "sample_rate" not in fields:
        return None
    rate = fields.number("sample_rate")
    if not 1 <= rate <= FASTEST_RATE or rate != round(rate):
        raise ValueError(f"{fields.place('sample_rate')} is {rate} Hz; it needs a whole number up to {FASTEST_RATE}")
    return round(rate)
