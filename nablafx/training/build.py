"""An effect from its description in a config, as the command line's parser would build it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from jsonargparse import ArgumentParser

import nablafx.conditioning
import nablafx.controllers
import nablafx.processors  # noqa: F401  short names in configs resolve among what is imported
from nablafx.effects import Effect
from nablafx.trust import only_allowed


@only_allowed()
def build(effect: Any, num_controls: int, sample_rate: int = 48_000) -> Effect:
    """The effect that a config describes, for a device with so many controls.

    Raises:
        ForeignClassError: it is made of a class that is not allowed.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Effect, "effect")
    # the parser writes into what it is given
    described: dict[str, Any] = {"class_path": effect} if isinstance(effect, str) else deepcopy(effect)
    # an effect takes what it needs of what the data say
    wanted = parser.parse_object({"effect": described}).effect.init_args
    facts = {"num_controls": num_controls, "sample_rate": sample_rate}
    values = {**described.get("init_args", {}), **{name: value for name, value in facts.items() if name in wanted}}
    return parser.instantiate(parser.parse_object({"effect": {**described, "init_args": values}})).effect
