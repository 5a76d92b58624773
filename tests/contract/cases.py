"""Every effect with every conditioning, and every processor with every controller, found by walking the packages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

import nablafx.conditioning
import nablafx.controllers
import nablafx.effects
import nablafx.processors
from nablafx.conditioning import Conditioning
from nablafx.controllers import Controller, DynamicController, StaticCondController, StaticController
from nablafx.effects import Effect, GrayBox, Stage
from nablafx.processors import DCOffset, Gain, Processor, SosProcessor, TanhNonlinearity

NUM_CONTROLS = 2
# samples between two decisions of what steers a model; published, it is 128: short blocks tell the same in less time
BLOCK = 16


def exported(package: Any, base: type) -> list[type]:
    classes = [getattr(package, name) for name in package.__all__]
    return [c for c in classes if inspect.isclass(c) and issubclass(c, base) and c is not base]


EFFECTS = exported(nablafx.effects, Effect)
# a gray box is told its stages where a net is told its conditioning
NETS = [effect for effect in EFFECTS if effect is not GrayBox]
CONDITIONINGS = [c for c in exported(nablafx.conditioning, Conditioning) if c.__name__ != "Unconditioned"]
PROCESSORS = [p for p in exported(nablafx.processors, Processor) if p is not SosProcessor]
CONTROLLERS = exported(nablafx.controllers, Controller)
FORMS = (StaticController, StaticCondController, DynamicController)


def variants(cls: type) -> Iterator[tuple[str, Callable]]:
    """The class, or where it may look ahead, its two forms."""
    if "lookahead" in inspect.signature(cls).parameters:
        yield f"{cls.__name__}-lookahead", partial(cls, block_size=BLOCK, lookahead=True)
        yield f"{cls.__name__}-zero-latency", partial(cls, block_size=BLOCK, lookahead=False)
    else:
        yield cls.__name__, cls


def build(effect: type, recipe: Callable | None, dtype: torch.dtype = torch.float64, **changed: Any) -> Effect:
    torch.manual_seed(0)
    model = effect(NUM_CONTROLS if recipe else 0, conditioning=recipe, **changed).to(dtype)
    for name, buffer in model.named_buffers():
        # statistics as after some training
        if name.endswith(("mean", "var")):
            buffer.copy_(torch.rand_like(buffer) + (0.5 if name.endswith("var") else 0.0))
    return model


def chain(processor: Callable, controller: Callable | None, dtype: torch.dtype = torch.float64) -> GrayBox:
    """A gray box of one processor, behind two that bend and shift what it hears: silence is a constant there."""
    torch.manual_seed(0)
    before = {"offset": Stage(partial(DCOffset, offset=(0.0, 0.2)), StaticController), "bend": Stage(TanhNonlinearity)}
    hears = controller is not None and controller(1, NUM_CONTROLS).num_controls
    stages = {**before, "stage": Stage(processor, controller)}
    return GrayBox(stages, NUM_CONTROLS if hears else 0).to(dtype)


def controls_for(model: Effect, batch: int) -> torch.Tensor | None:
    dtype = next(model.parameters(), torch.zeros((), dtype=torch.float64)).dtype
    return torch.rand(batch, NUM_CONTROLS, dtype=dtype) if model.num_controls else None


def _nets() -> Iterator[tuple[str, Callable]]:
    recipes = [("unconditioned", None), *(pair for cls in CONDITIONINGS for pair in variants(cls))]
    for effect in NETS:
        for name, recipe in recipes:
            try:
                build(effect, recipe)
            except ValueError as refusal:
                # an effect may refuse a conditioning, if it says what to use instead
                if "use" not in str(refusal):
                    raise
                continue
            yield f"{effect.__name__}-{name}", partial(build, effect, recipe)
        if "residual_delay" in inspect.signature(effect).parameters:
            late = partial(build, effect, None, residual_delay=2, direct_path=True)
            yield f"{effect.__name__}-unconditioned-late", late


def _chains() -> Iterator[tuple[str, Callable]]:
    for processor in PROCESSORS:
        if not processor().num_parameters:
            yield processor.__name__, partial(chain, processor, None)
            continue
        # What a processor sees of controllers is one u for all items, one for each, or one for each and its blocks. How
        # they make it, with look-ahead and read-out, is their own: each once with a gain will do.
        for controller in CONTROLLERS if processor is Gain else FORMS:
            for name, recipe in list(variants(controller))[: None if processor is Gain else 1]:
                yield f"{processor.__name__}-{name}", partial(chain, processor, recipe)
                if processor is Gain and "Dynamic" in name:
                    yield f"Gain-{name}-readout", partial(chain, Gain, partial(recipe, hidden_size=3))


# an FFT rounds all the samples of a piece together
ROUNDED = ("StaticFIRFilter", "Cabinet", "EnvelopeLSTM-")
# a phase near a multiple of 180 degrees moves poles by a thousand times what its angle moves: in float32 such an effect
# is itself up to 1e-4 away from what it is in float64
STEEP = {"PhaseShift-DynamicController-lookahead"}
CASES = dict([*_nets(), *_chains()])
