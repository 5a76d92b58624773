"""Every effect with every conditioning that it takes, found by walking the packages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

import nablafx.conditioning
import nablafx.effects
from nablafx.conditioning import Conditioning
from nablafx.effects import Effect

NUM_CONTROLS = 2


def exported(package: Any, base: type) -> list[type]:
    classes = [getattr(package, name) for name in package.__all__]
    return [c for c in classes if inspect.isclass(c) and issubclass(c, base) and c is not base]


EFFECTS = exported(nablafx.effects, Effect)
CONDITIONINGS = [c for c in exported(nablafx.conditioning, Conditioning) if c.__name__ != "Unconditioned"]


def recipes() -> Iterator[tuple[str, Callable[[int], Conditioning] | None]]:
    yield "unconditioned", None
    for cls in CONDITIONINGS:
        if "lookahead" in inspect.signature(cls).parameters:
            yield f"{cls.__name__}-lookahead", partial(cls, lookahead=True)
            yield f"{cls.__name__}-zero-latency", partial(cls, lookahead=False)
        else:
            yield cls.__name__, cls


def build(effect: type, recipe: Callable | None, dtype: torch.dtype = torch.float64) -> Effect:
    torch.manual_seed(0)
    model = effect(NUM_CONTROLS if recipe else 0, conditioning=recipe).to(dtype)
    for name, buffer in model.named_buffers():
        # statistics as after some training
        if name.endswith(("mean", "var")):
            buffer.copy_(torch.rand_like(buffer) + (0.5 if name.endswith("var") else 0.0))
    return model


def controls_for(model: Effect, batch: int) -> torch.Tensor | None:
    dtype = next(model.parameters()).dtype
    return torch.rand(batch, NUM_CONTROLS, dtype=dtype) if model.num_controls else None


def _cases() -> dict[str, tuple[type, Callable | None]]:
    cases = {}
    for effect in EFFECTS:
        for name, recipe in recipes():
            try:
                build(effect, recipe)
            except ValueError as refusal:
                # an effect may refuse a conditioning, if it says what to use instead
                if "use" not in str(refusal):
                    raise
                continue
            cases[f"{effect.__name__}-{name}"] = (effect, recipe)
    return cases


CASES = _cases()
