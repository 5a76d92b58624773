"""Effects as the committed configs describe them, built without the command line's parser."""

from __future__ import annotations

from functools import partial
from typing import Any

import yaml

import nablafx.conditioning
import nablafx.effects
from nablafx.effects import Effect
from tests.conftest import ROOT

MODELS = ROOT / "cfg" / "model"
NETS = sorted(str(p.relative_to(MODELS).with_suffix("")) for p in MODELS.rglob("*.yaml") if p.parent.name != "with")
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
    recipe = arguments.pop("conditioning", None)
    if recipe:
        cls = getattr(nablafx.conditioning, recipe["class_path"])
        arguments["conditioning"] = partial(cls, **recipe.get("init_args", {}))
    return getattr(nablafx.effects, effect["class_path"])(num_controls, **{**arguments, **changed})
