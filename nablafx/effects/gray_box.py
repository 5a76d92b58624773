"""A chain of signal processors, each steered by a controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import lcm
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nablafx import kernels
from nablafx.controllers import Controller
from nablafx.effects.base import Effect, State, UnheardControlsError
from nablafx.layers.held import Held
from nablafx.processors import Processor
from nablafx.processors.base import flat

ProcessorRecipe = Callable[[int], Processor]
ControllerRecipe = Callable[[int, int], Controller]
_NAMED = 3


@dataclass
class Stage:
    """One link of a chain.

    processor: recipe, called with the sample rate: a class of nablafx.processors.
    controller: recipe, called with the number of parameters and of controls: a class of nablafx.controllers; none for
        a processor without parameters.
    """

    processor: ProcessorRecipe
    controller: ControllerRecipe | None = None


class Tap(NamedTuple):
    """What comes out of a stage.

    Attributes:
        name: of the stage.
        kind: of its processor.
        audio: (B, 1, T).
        params: physical values by name, each (B or 1, 1, N), held over blocks.
        response: frequencies in Hz (F,) -> (B or 1, N, F) complex128; None where the processor is not linear.
        curve: levels (L,) -> (B or 1, N, L); None where a constant input does not tell it.
    """

    name: str
    kind: str
    audio: Tensor
    params: dict[str, Held]
    response: Callable[[Tensor], Tensor | None]
    curve: Callable[[Tensor], Tensor | None]


class GrayBox(Effect):
    """y = (f_N ∘ … ∘ f_1)(x), each f a processor whose parameters a controller sets.

    State: by stage, the controller's and the processor's.
    """

    def __init__(
        self, stages: dict[str, Stage], num_controls: int = 0, sample_rate: int = 48_000, cold_start: bool = False
    ) -> None:
        """
        Args:
            stages: by name, in the order of the chain.
            num_controls: controls of the device; supplied by the data.
            sample_rate: Hz; supplied by the data.
            cold_start: a sequence begins in zeros, as for a chain of the published code, and not in what silence
                leaves.

        Raises:
            UnheardControlsError: the device has controls, and no controller listens to them.
            ValueError: there are no stages, or one has a name that cannot be, or lacks the controller that it needs.
        """
        super().__init__()
        self.cold_start = cold_start
        if not stages:
            raise ValueError("GrayBox: got no stages, needs at least one: {name: {processor, controller}}")
        self.stages = nn.ModuleDict()
        for name, stage in stages.items():
            if not name.isidentifier() or hasattr(self.stages, name):
                raise ValueError(f"GrayBox: a stage cannot be named {name!r}; use letters, digits and underscores")
            self.stages[name] = Link(name, stage, num_controls, sample_rate)
        listeners = [link.num_controls for link in self.links.values()]
        if num_controls and not any(listeners):
            raise UnheardControlsError(
                f"the data set has {num_controls} controls, and no controller of the GrayBox listens to them",
                cure="give a stage StaticCondController or DynamicCondController",
            )
        self.num_controls = num_controls
        self.frame_size = lcm(*(link.frame_size for link in self.links.values()))

    @property
    def links(self) -> dict[str, Link]:
        """The stages, by their type."""
        return cast("dict[str, Link]", dict(self.stages.items()))

    def rest(self, x: Tensor, controls: Tensor | None) -> State:
        dry, states = x, {}
        for name, link in self.links.items():
            x, states[name] = link.rest(x, dry, controls)
        return states

    def process(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        dry, states = x, {}
        for name, link in self.links.items():
            x, states[name], _ = link(x, dry, controls, state[name])
        return x, states

    @torch.no_grad()
    def initialise(self, x: Tensor, y: Tensor, controls: Tensor | None) -> str:
        """Let each stage begin where its input and y (B, 1, T), the device's output, tell it to: what it took."""
        told, dry, quiet = [], x, torch.zeros_like(x[..., :1])
        for name, link in self.links.items():
            values = link.begin(x, y, controls)
            if values:
                told.append(f"{name}: {_briefly(values)}")
            silence, state = link.rest(quiet, torch.zeros_like(dry[..., :1]), controls)
            x, _, _ = link(x, dry, controls, state)
            quiet = silence
        return "; ".join(told)

    def taps(self, x: Tensor, controls: Tensor | None = None, state: State = None) -> Iterator[Tap]:
        """Run the chain on x (B, 1, T), and yield what comes out of each stage in turn."""
        self._check(x, controls)
        state = self.resting(x, controls) if state is None else state
        dry = x
        for name, link in self.links.items():
            x, _, u = link(x, dry, controls, state[name])
            params = link.processor.denormalise(u, x.device)
            values = flat(params)
            response, curve = (partial(f, **values) for f in (link.processor.response, link.processor.curve))
            yield Tap(name, type(link.processor).__name__, x, params, response, curve)

    def parameter_options(self) -> dict[str, dict[str, float]]:
        options: dict[str, dict[str, float]] = {}
        for name, link in self.links.items():
            factor = link.processor.lr_multiplier
            shared = {} if factor == 1 else {"lr_multiplier": factor}
            if shared:
                options[f"stages.{name}"] = shared
            for part, option in (link.controller.parameter_options() if link.controller else {}).items():
                options[f"stages.{name}.controller.{part}"] = {**shared, **option}
        return options

    def remark(self) -> str:
        return f"filters run by {kernels.describe(next(self.parameters(), torch.zeros(())).device)}"


class Link(nn.Module):
    """A processor with its controller."""

    def __init__(self, name: str, stage: Stage, num_controls: int, sample_rate: int) -> None:
        super().__init__()
        self.processor = stage.processor(sample_rate)
        count, kind = self.processor.num_parameters, type(self.processor).__name__
        if count and stage.controller is None:
            raise ValueError(
                f"GrayBox: stage {name!r} has a {kind} with {count} parameters ({', '.join(self.processor.ranges)}) "
                "and no controller; give it one, such as StaticController, or a number in place of each range"
            )
        if not count and stage.controller is not None:
            raise ValueError(f"GrayBox: stage {name!r} has a {kind} without parameters; leave its controller out")
        self.controller = stage.controller(count, num_controls) if stage.controller else None
        self.num_controls = self.controller.num_controls if self.controller else 0
        self.frame_size = self.controller.frame_size if self.controller else 1

    def forward(
        self, x: Tensor, dry: Tensor, controls: Tensor | None, state: State
    ) -> tuple[Tensor, State, Held | None]:
        """Audio x and the chain's input (B, 1, T) -> y, state, and the u that the controller chose."""
        u, steering = None, ()
        if self.controller:
            u, steering = self.controller(self.controller.hear(x, dry), controls, state["controller"])
        y, processing = self.processor(x, u, state["processor"], dry)
        return y, {"controller": steering, "processor": processing}, u

    def begin(self, x: Tensor, y: Tensor, controls: Tensor | None) -> dict[str, float]:
        """Begin training where audio x that comes in and the device's output y tell it to; the values that it took."""
        values = self.processor.guess(x, y)
        if self.controller is None:
            return values
        self.controller.learn_settings(controls)
        return values if values and self.controller.start_at(self.processor.normalise(values)) else {}

    def rest(self, x: Tensor, dry: Tensor, controls: Tensor | None) -> tuple[Tensor, Any]:
        """Answer to the constants x and dry (B, 1, 1) held for ever, and the state."""
        u, steering = self.controller.rest(self.controller.hear(x, dry), controls) if self.controller else (None, ())
        y, processing = self.processor.rest(x, u, dry)
        return y, {"controller": steering, "processor": processing}


def _briefly(values: dict[str, float]) -> str:
    """Values by name; of an equaliser, how many there are."""
    if len(values) > _NAMED:
        return f"{len(values)} values"
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
