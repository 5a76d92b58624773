"""Structured state-space network (Gu et al. 2022, arXiv 2111.00396; diagonal form arXiv 2206.11893)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nablafx.conditioning import Modulation
from nablafx.effects.stack import Block, ConditioningRecipe, StackedEffect
from nablafx.layers.activation import ActType, OutputActivation, make_activation
from nablafx.layers.causal_conv import CausalConv1d
from nablafx.layers.diagonal_ssm import DiagonalSSM
from nablafx.layers.residual import ChannelScale, bend_beside


class S4(StackedEffect):
    """Linear(1 -> C) -> blocks of linear, act, diagonal SSM, conditioning, act, beside w h -> Linear(C -> 1) -> tanh.

    The defaults are S4-S: 4 blocks of 16 channels with 4 complex states each.
    """

    def __init__(
        self,
        num_controls: int = 0,
        num_blocks: int = 4,
        num_states: int = 4,
        channel_width: int = 16,
        act_type: ActType = "tanh",
        residual: bool = True,
        direct_path: bool = False,
        output_activation: OutputActivation = "tanh",
        s4_learning_rate: float = 1e-3,
        conditioning: ConditioningRecipe | None = None,
        cold_start: bool = False,
    ) -> None:
        """
        Args:
            num_controls: controls of the device; supplied by the data.
            num_states: complex states per channel.
            direct_path: add a learned gain times the input before the output activation.
            s4_learning_rate: learning rate of log_dt, log_A_real and A_imag, which take no weight decay.
            conditioning: recipe, e.g. the class TFiLM.
            cold_start: a sequence begins in zeros, as for a net of the published code, and not in what silence leaves.
        """
        super().__init__(conditioning, num_controls, direct_path, output_activation, cold_start=cold_start)
        self.s4_learning_rate = s4_learning_rate
        self.expand = nn.Conv1d(1, channel_width, 1)
        for _ in range(num_blocks):
            modulation = self.conditioning.modulation(channel_width)
            self.blocks.append(S4Block(channel_width, num_states, modulation, act_type, residual))
        self.mix = nn.Conv1d(channel_width, 1, 1)

    def read_in(self, x: Tensor) -> Tensor:
        return self.expand(x)

    def read_out(self, h: Tensor) -> Tensor:
        return self.mix(h)

    def parameter_options(self) -> dict[str, dict[str, float]]:
        options = {"lr": self.s4_learning_rate, "weight_decay": 0.0}
        names = ("log_dt", "log_A_real", "A_imag")
        return {f"blocks.{n}.ssm.{name}": options for n in range(len(self.blocks)) for name in names}


class S4Block(Block):
    """act(conditioning(ssm(act(linear(h))))) + w h. State: the SSM's and the modulation's."""

    def __init__(
        self, channels: int, num_states: int, modulation: Modulation, act_type: ActType, residual: bool
    ) -> None:
        super().__init__()
        self.linear = CausalConv1d(channels, channels, 1)
        self.act_in = make_activation(act_type, channels)
        self.ssm = DiagonalSSM(channels, num_states)
        self.modulation = modulation
        self.act_out = make_activation(act_type, channels)
        self.residual = ChannelScale(channels, channels) if residual else None

    def forward(self, h: Tensor, cond: Any, state: Any) -> tuple[Tensor, Any]:
        z, ssm = self.ssm(self._begin(h), state["ssm"])
        held, modulation = self.modulation(z, cond, state["modulation"])
        return bend_beside(self.act_out, z, held, h, self.residual), {"ssm": ssm, "modulation": modulation}

    def rest(self, h: Tensor, cond: Any) -> tuple[Tensor, Any]:
        z, ssm = self.ssm.rest(self._begin(h))
        held, modulation = self.modulation.rest(z, cond)
        return bend_beside(self.act_out, z, held, h, self.residual), {"ssm": ssm, "modulation": modulation}

    def absorb(self, state: Any) -> Any:
        return {**state, "modulation": self.modulation.absorb(state["modulation"])}

    def _begin(self, h: Tensor) -> Tensor:
        if isinstance(self.act_in, nn.Tanh):
            z, _ = self.linear.tanh_block(h, h[..., :0], None, None)
        else:
            z, _ = self.linear(h, h[..., :0])
            z = self.act_in(z)
        return z
