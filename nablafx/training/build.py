"""An effect from its description in a config, as the command line's parser would build it."""

from __future__ import annotations

import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.nn.modules import module as hooks

import nablafx.conditioning
import nablafx.controllers
import nablafx.processors  # noqa: F401  short names in configs resolve among what is imported
from nablafx.effects import Effect
from nablafx.layers.causal_conv import CausalConv1d
from nablafx.training.checkpoints import CheckpointError, check_fits
from nablafx.trust import only_allowed

MOST_STATE = 2**24
"""Numbers that the convolutions of a net of somebody else may keep of the past; ours keep a million at most."""
_MOST_TABLES = 2**20  # numbers that are no weights: tapers, steps, places of taps
_MODULES_A_WEIGHT = 32  # ours have up to five, and a chain some more that hold none
_LONGEST_FRAME = 2**16


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


def build_with(
    weights: Mapping[str, Tensor], path: str | Path, effect: Any, num_controls: int, sample_rate: int
) -> Effect:
    """The effect that a config describes, with these weights of the file `path`.

    What the config says of sizes is tried without memory first, so that it costs no more than there are weights for.

    Raises:
        CheckpointError: they are another effect's.
        ValueError: the config describes no effect, or one that no weights could be so many for.
    """
    with torch.device("meta"), warnings.catch_warnings(), _vouched_for(weights) as too_many:
        # pre-trained weights cannot be copied to where there is no memory
        warnings.filterwarnings("ignore", ".*no-op.*", UserWarning)
        try:
            tried = build(effect, num_controls, sample_rate)
        except (ArgumentError, ValueError) as error:
            if not too_many:
                raise
            # the parser has put this into many words
            raise CheckpointError(
                f"the checkpoint {path} is another model's: that of the config would have more {too_many[0]} than "
                "there are weights for. Give the config that it was trained with: -c config.yaml of its run"
            ) from error
    check_fits({"state_dict": weights}, tried, path)
    check_state(tried)
    built = build(effect, num_controls, sample_rate)
    built.load_state_dict(weights)
    return built.eval()


def check_state(effect: Effect) -> None:
    """Raise ValueError where an effect would keep more of the past than memory should be given for."""
    convolutions = [module for module in effect.modules() if isinstance(module, CausalConv1d)]
    kept = sum(conv.in_channels * conv.context_length for conv in convolutions)
    if kept > MOST_STATE:
        raise ValueError(
            f"its convolutions keep {kept} numbers of the past, and {MOST_STATE} are the most allowed here"
        )
    if effect.frame_size > _LONGEST_FRAME:
        raise ValueError(f"its blocks have {effect.frame_size} samples, and {_LONGEST_FRAME} are the most allowed here")


@contextmanager
def _vouched_for(weights: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """ValueError as soon as a module is made with more parts, parameters or tables than such a file accounts for.

    The list says then of what.
    """
    too_many: list[str] = []
    total = sum(value.numel() for value in weights.values())
    left = {
        "parts": _MODULES_A_WEIGHT * (len(weights) + _MODULES_A_WEIGHT),
        # some parts make weights anew that they have made before
        "weights": 3 * total,
        "numbers in tables": _MOST_TABLES + total,
    }

    def count(kind: str, amount: int) -> None:
        left[kind] -= amount
        if left[kind] < 0:
            too_many.append(kind)
            raise ValueError(f"it would have more {kind} than there are weights for")

    def made(_module: nn.Module, _name: str, part: nn.Module | None) -> None:
        count("parts", 1)

    def weighed(_module: nn.Module, _name: str, value: nn.Parameter | None) -> None:
        count("weights", 0 if value is None else value.numel())

    def held(_module: nn.Module, _name: str, value: Tensor | None) -> None:
        count("numbers in tables", 0 if value is None else value.numel())

    handles = [
        hooks.register_module_module_registration_hook(made),
        hooks.register_module_parameter_registration_hook(weighed),
        hooks.register_module_buffer_registration_hook(held),
    ]
    try:
        yield too_many
    finally:
        for handle in handles:
            handle.remove()
