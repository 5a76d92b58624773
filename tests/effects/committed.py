"""Effects as the committed configs describe them, built without the command line's parser."""

from __future__ import annotations

from functools import partial
from typing import Any

import yaml

import nablafx.conditioning
import nablafx.controllers
import nablafx.effects
import nablafx.processors
from nablafx.effects import Effect, GrayBox, Stage
from tests.conftest import ROOT

MODELS = ROOT / "cfg" / "model"
MADE_OTHERWISE = {"with", "graybox"}
NETS = sorted(
    str(p.relative_to(MODELS).with_suffix("")) for p in MODELS.rglob("*.yaml") if p.parent.name not in MADE_OTHERWISE
)
CHAINS = sorted(p.stem for p in (MODELS / "graybox").glob("*.yaml"))
OVERLAYS = sorted(p.stem for p in (MODELS / "with").glob("*.yaml"))
# id: blocks, kernel size, dilation growth
GRID = {
    "45-s": (5, 7, 4),
    "45-l": (10, 3, 2),
    "250-s": (6, 11, 4),
    "250-l": (11, 7, 2),
    "2500-s": (5, 13, 10),
    "2500-l": (10, 5, 3),
}


def merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}


def recipe(package: Any, given: str | dict | None) -> Any:
    """What a YAML says of a class and its arguments, as a function that still wants what the data know."""
    if given is None:
        return None
    given = {"class_path": given} if isinstance(given, str) else given
    return partial(getattr(package, given["class_path"]), **given.get("init_args", {}))


def config(net: str, overlay: str | None = None) -> dict:
    """The section `model` of cfg/model/<net>.yaml, and of with/<overlay>.yaml on top."""
    files = [MODELS / f"{net}.yaml"] + ([MODELS / "with" / f"{overlay}.yaml"] if overlay else [])
    content: dict = {}
    for file in files:
        content = merged(content, yaml.safe_load(file.read_text()))
    return content["model"]


def build(net: str, overlay: str | None = None, num_controls: int = 0, **changed: Any) -> Effect:
    """`changed` are arguments of the effect that differ from the config's."""
    effect = config(net, overlay)["effect"]
    arguments = dict(effect.get("init_args", {}))
    conditioning = arguments.pop("conditioning", None)
    if conditioning:
        arguments["conditioning"] = recipe(nablafx.conditioning, conditioning)
    return getattr(nablafx.effects, effect["class_path"])(num_controls, **{**arguments, **changed})


def build_chain(name: str, num_controls: int = 0) -> GrayBox:
    """The gray box of cfg/model/graybox/<name>.yaml."""
    stages = {
        stage: Stage(
            recipe(nablafx.processors, given["processor"]), recipe(nablafx.controllers, given.get("controller"))
        )
        for stage, given in config(f"graybox/{name}")["effect"]["init_args"]["stages"].items()
    }
    return GrayBox(stages, num_controls)
