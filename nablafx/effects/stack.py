"""What TCN, GCN and S4 share: a stack of conditioned blocks between two read-outs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from nablafx.conditioning import Conditioning, Modulation, Unconditioned
from nablafx.effects.base import WHOLE, Effect, State, UnheardControlsError
from nablafx.layers.activation import OutputActivation, make_output_activation
from nablafx.layers.causal_conv import CausalConv1d
from nablafx.layers.delay import Delay
from nablafx.layers.held import Held

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


def build_appended(recipe: ConditioningRecipe | None, num_controls: int, effect: str) -> Conditioning:
    """As `build_conditioning`, for an effect that appends the features of its conditioning to an LSTM's input.

    Raises:
        ValueError: the conditioning has none.
    """
    conditioning = build_conditioning(recipe, num_controls, effect)
    if recipe is not None and not conditioning.num_features:
        raise ValueError(
            f"{effect}: {type(conditioning).__name__} modulates layers and has nothing to append to an LSTM's input; "
            "use FixedConditioning (-c cfg/model/with/fixed.yaml) or TVFiLM (-c cfg/model/with/tvcond.yaml)"
        )
    return conditioning


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
        residual_delay: int = 0,
        cold_start: bool = False,
    ) -> None:
        super().__init__()
        self.cold_start = cold_start
        self.conditioning = build_conditioning(conditioning, num_controls, type(self).__name__)
        self.conditioning.fill_zeros = cold_start
        self.num_controls = self.conditioning.num_controls
        self.frame_size = self.conditioning.frame_size
        self.blocks = nn.ModuleList()
        self.direct_gain = nn.Parameter(torch.zeros(())) if direct_path else None
        self.delay = Delay(residual_delay)
        self.output_activation = make_output_activation(output)

    @property
    def stack(self) -> list[Block]:
        """The blocks, by their type."""
        return cast(list[Block], list(self.blocks))

    def read_in(self, x: Tensor) -> Any:
        return x

    def read_out(self, h: Any) -> Tensor:
        """The part of the output that has come through the last block."""
        raise NotImplementedError

    def beside(self, x: Tensor, h: Any) -> Tensor | None:
        """The part of the output that has come past the last block, if there is any: the direct path."""
        return None if self.direct_gain is None else self.direct_gain * x

    def process(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        cond, shared = self.conditioning.encode(x, controls, state["conditioning"])
        h = self.read_in(x)
        states = []
        for block, block_state in zip(self.stack, state["blocks"], strict=True):
            h, block_state = block(h, cond, block_state)
            states.append(block_state)
        y, late = self._sum(x, h, state["late"])
        return y, {"conditioning": shared, "blocks": states, "late": late}

    def rest(self, x: Tensor, controls: Tensor | None) -> State:
        cond, shared = self.conditioning.rest(x, controls)
        h = self.read_in(x)
        states = []
        for block in self.stack:
            h, state = block.rest(h, cond)
            states.append(state)
        beside = self.beside(x, h)
        late = () if beside is None else self.delay.rest(beside)
        return {"conditioning": shared, "blocks": states, "late": late}

    def absorb(self, state: State) -> State:
        blocks = [block.absorb(s) for block, s in zip(self.stack, state["blocks"], strict=True)]
        return {**state, "blocks": blocks}

    def _sum(self, x: Tensor, h: Any, late: State) -> tuple[Tensor, State]:
        y, beside = self.read_out(h), self.beside(x, h)
        if beside is not None:
            beside, late = self.delay(beside, late)
            y = y + beside
        return self.output_activation(y), late


class ConvBlock(Block):
    """Causal convolution -> conditioning; `finish` says what becomes of it, and `run_whole` does both in one pass.

    State: the convolution's context, the modulation's state, and what is late of the features for the residual.

    Attributes:
        whole: whether there is a `run_whole`.
    """

    whole: bool = True

    def __init__(self, conv: CausalConv1d, modulation: Modulation, residual_delay: int) -> None:
        super().__init__()
        self.conv = conv
        self.modulation = modulation
        self.delay = Delay(residual_delay)

    def forward(self, h: Any, cond: Any, state: State) -> tuple[Any, State]:
        return self._run(self.features(h), h, cond, state)

    def rest(self, h: Any, cond: Any) -> tuple[Any, State]:
        x = self.features(h)
        z, context = self.conv.rest(x)
        held, modulation = self.modulation.rest(z, cond)
        return self.finish(z, held, x, h), {"context": context, "modulation": modulation, "late": self.delay.rest(x)}

    def run_padded(self, h: Any, cond: Held | None, nothing: State) -> Any:
        """As published, on padded features: the first of them are the convolution's context, and all state is new."""
        context, x = self.features(h).tensor_split([self.conv.context_length], dim=-1)
        late = context[..., self.conv.context_length - self.delay.samples :] if self.delay.samples else ()
        cond = None if cond is None else cond.tail(x.shape[-1])
        return self._run(x, h, cond, {**nothing, "context": context, "late": late})[0]

    def _run(self, x: Tensor, h: Any, cond: Any, state: State) -> tuple[Any, State]:
        if self.modulation.listens or self.delay.samples or not self.whole:
            z, context = self.conv(x, state["context"])
            held, modulation = self.modulation(z, cond, state["modulation"])
            x, late = self.delay(x, state["late"])
            h = self.finish(z, held, x, h)
        else:
            held, modulation = self.modulation(None, cond, state["modulation"])
            h, context = self.run_whole(x, state["context"], held, h)
            late = state["late"]
        return h, {"context": context, "modulation": modulation, "late": late}

    def absorb(self, state: State) -> State:
        return {**state, "modulation": self.modulation.absorb(state["modulation"])}

    def features(self, h: Any) -> Tensor:
        """What the convolution hears of h."""
        return h

    def finish(self, z: Tensor, held: Held | None, x: Tensor, h: Any) -> Any:
        """From the convolution z, what modulates it, features x for the residual and the input h to what flows on."""
        raise NotImplementedError

    def run_whole(self, x: Tensor, context: Tensor, held: Held | None, h: Any) -> tuple[Any, Tensor]:
        """`finish` of the convolution of x itself, and the convolution's context."""
        raise NotImplementedError


class ConvStack(StackedEffect):
    """A stack of convolution blocks.

    `residual_delay` and `cold_start` are for nets that the published code trained. There the residual of every block,
    and all that goes past the last block, is one sample late. And a net runs on whole sequences behind
    receptive_field - 1 zeros: each layer counts the blocks of its conditioning from its own first sample, and its LSTM
    starts from zero there. The blocks of the layers do not fall together then, so that no cut is exact.
    """

    def __init__(
        self,
        conditioning: ConditioningRecipe | None,
        num_controls: int,
        direct_path: bool,
        output: OutputActivation,
        residual_delay: int,
        cold_start: bool,
    ) -> None:
        super().__init__(conditioning, num_controls, direct_path, output, residual_delay, cold_start)
        self.residual_delay = residual_delay
        if cold_start:
            self.frame_size = WHOLE

    def add(self, block: ConvBlock) -> None:
        """Append a block.

        Raises:
            ValueError: residual_delay is less than 0, or more than its convolution remembers.
        """
        reach = block.conv.context_length
        if not 0 <= self.residual_delay <= reach:
            raise ValueError(
                f"{type(self).__name__}: residual_delay is {self.residual_delay}; it needs 0 to {reach} samples, what "
                "the convolution of a block reaches back"
            )
        self.blocks.append(block)

    @property
    def receptive_field(self) -> int:
        """1 + Σ (K - 1) dilation: of the convolutions; a time-varying conditioning remembers longer."""
        return 1 + sum(block.conv.context_length for block in cast(list[ConvBlock], self.stack))

    def process(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        return self._run_cold(x, controls, state) if self.cold_start else super().process(x, controls, state)

    def _run_cold(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        if state["begun"].shape[-1]:
            raise ValueError(
                f"{type(self).__name__} with cold_start takes a sequence as a whole, and got the next piece of one; "
                "give it all at once, or build the net with cold_start: false, which differs a little and can be cut"
            )
        begun = {"begun": x[..., :1]}
        nothing = pytree.tree_map(torch.zeros_like, super().rest(torch.zeros_like(x[..., :1]), controls))
        x = F.pad(x, (self.receptive_field - 1, 0))
        cond, _ = self.conditioning.encode(x, controls, nothing["conditioning"])
        h = self.read_in(x)
        for block, new in zip(cast(list[ConvBlock], self.stack), nothing["blocks"], strict=True):
            h = block.run_padded(h, cond, new)
        y, beside = self.read_out(h), self.beside(x, h)
        if beside is not None:
            stop = beside.shape[-1] - self.delay.samples
            y = y + beside[..., stop - y.shape[-1] : stop]
        return self.output_activation(y), begun

    def rest(self, x: Tensor, controls: Tensor | None) -> State:
        return {"begun": x[..., :0]} if self.cold_start else super().rest(x, controls)


MOST_BLOCKS = 1024  # nobody trains a deeper one, and a number with a digit too many would keep a machine busy for days


def dilations(num_blocks: int, growth: int, stack_size: int) -> list[int]:
    """growth^(n mod stack_size) for every block n."""
    return [growth ** (n % stack_size) for n in range(num_blocks)]


def widths(num_blocks: int, channel_width: int, channel_growth: int) -> list[int]:
    """Channels of the input (1) and of every block's output, channel_width · channel_growth^n."""
    if num_blocks > MOST_BLOCKS:
        raise ValueError(f"num_blocks is {num_blocks}, and {MOST_BLOCKS} are the most")
    return [1, *(channel_width * channel_growth**n for n in range(num_blocks))]
