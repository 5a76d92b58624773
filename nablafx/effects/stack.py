"""What TCN, GCN and S4 share: a stack of conditioned blocks between two read-outs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from nablafx.conditioning import Conditioning, Modulation, Unconditioned
from nablafx.effects.base import Effect, State, UnheardControlsError
from nablafx.layers.activation import OutputActivation, make_output_activation
from nablafx.layers.causal_conv import CausalConv1d

ConditioningRecipe = Callable[[int], Conditioning]


def build_conditioning(recipe: ConditioningRecipe | None, num_controls: int, effect: str) -> Conditioning:
    """The conditioning that `recipe` makes for so many controls; none where it is None.

    Raises:
        UnheardControlsError: the device has controls and there is no recipe.
    """
    if recipe is None and num_controls:
        raise UnheardControlsError(
            f"the data set has {num_controls} controls, and the effect {effect} takes none",
            cure="give it a conditioning (-c cfg/model/with/film.yaml)",
        )
    return (recipe or Unconditioned)(num_controls)


class Block(nn.Module):
    """One layer of a stack. `h` is what flows between blocks, a tensor or a tuple of them."""

    def forward(self, h: Any, cond: Any, state: State) -> tuple[Any, State]:
        raise NotImplementedError

    def rest(self, h: Any, cond: Any) -> tuple[Any, State]:
        """As `forward` for constant features (B, C, 1) held for ever."""
        raise NotImplementedError

    def absorb(self, state: State) -> State:
        raise NotImplementedError


class StackedEffect(Effect):
    """x -> read_in -> blocks, each conditioned -> read_out (+ direct gain · x) -> output activation."""

    def __init__(
        self,
        conditioning: ConditioningRecipe | None,
        num_controls: int,
        direct_path: bool,
        output: OutputActivation,
    ) -> None:
        super().__init__()
        self.conditioning = build_conditioning(conditioning, num_controls, type(self).__name__)
        self.num_controls = self.conditioning.num_controls
        self.frame_size = self.conditioning.frame_size
        self.blocks = nn.ModuleList()
        self.direct_gain = nn.Parameter(torch.zeros(())) if direct_path else None
        self.output_activation = make_output_activation(output)

    @property
    def stack(self) -> list[Block]:
        """The blocks, by their type."""
        return cast(list[Block], list(self.blocks))

    def read_in(self, x: Tensor) -> Any:
        return x

    def read_out(self, h: Any) -> Tensor:
        raise NotImplementedError

    def process(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        cond, shared = self.conditioning.encode(x, controls, state["conditioning"])
        h = self.read_in(x)
        states = []
        for block, block_state in zip(self.stack, state["blocks"], strict=True):
            h, block_state = block(h, cond, block_state)
            states.append(block_state)
        y = self.read_out(h)
        if self.direct_gain is not None:
            y = torch.addcmul(y, x, self.direct_gain)
        return self.output_activation(y), {"conditioning": shared, "blocks": states}

    def rest(self, x: Tensor, controls: Tensor | None) -> State:
        cond, shared = self.conditioning.rest(x, controls)
        h = self.read_in(x)
        states = []
        for block in self.stack:
            h, state = block.rest(h, cond)
            states.append(state)
        return {"conditioning": shared, "blocks": states}

    def absorb(self, state: State) -> State:
        blocks = [block.absorb(s) for block, s in zip(self.stack, state["blocks"], strict=True)]
        return {"conditioning": state["conditioning"], "blocks": blocks}


class ConvBlock(Block):
    """Causal convolution -> conditioning; `finish` says what becomes of it.

    State: the convolution's context and the modulation's state.
    """

    def __init__(self, conv: CausalConv1d, modulation: Modulation) -> None:
        super().__init__()
        self.conv = conv
        self.modulation = modulation

    def forward(self, h: Any, cond: Any, state: State) -> tuple[Any, State]:
        z, context = self.conv(self.features(h), state["context"])
        z, modulation = self.modulation(z, cond, state["modulation"])
        return self.finish(z, h), {"context": context, "modulation": modulation}

    def rest(self, h: Any, cond: Any) -> tuple[Any, State]:
        z, context = self.conv.rest(self.features(h))
        z, modulation = self.modulation.rest(z, cond)
        return self.finish(z, h), {"context": context, "modulation": modulation}

    def absorb(self, state: State) -> State:
        return {**state, "modulation": self.modulation.absorb(state["modulation"])}

    def features(self, h: Any) -> Tensor:
        """What the convolution hears of h."""
        return h

    def finish(self, z: Tensor, h: Any) -> Any:
        """From the modulated convolution z and the block's input h to its output."""
        raise NotImplementedError


class ConvStack(StackedEffect):
    """A stack of convolution blocks."""

    @property
    def receptive_field(self) -> int:
        """1 + Σ (K - 1) dilation: of the convolutions; a time-varying conditioning remembers longer."""
        return 1 + sum(block.conv.context_length for block in cast(list[ConvBlock], self.stack))


def dilations(num_blocks: int, growth: int, stack_size: int) -> list[int]:
    """growth^(n mod stack_size) for every block n."""
    return [growth ** (n % stack_size) for n in range(num_blocks)]


def widths(num_blocks: int, channel_width: int, channel_growth: int) -> list[int]:
    """Channels of the input (1) and of every block's output, channel_width · channel_growth^n."""
    return [1, *(channel_width * channel_growth**n for n in range(num_blocks))]
