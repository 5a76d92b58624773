"""Temporal convolutional network (Steinmetz and Reiss 2022, arXiv 2102.06200)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nablafx.conditioning import Modulation
from nablafx.effects.stack import ConditioningRecipe, ConvBlock, ConvStack, dilations, widths
from nablafx.layers.activation import ActType, OutputActivation, make_activation
from nablafx.layers.causal_conv import CausalConv1d
from nablafx.layers.held import Held
from nablafx.layers.residual import ChannelScale, bend_beside


class TCN(ConvStack):
    """Dilated causal convolutions: block = act(conditioning(conv(h))) + w h; then a 1x1 convolution and tanh.

    The defaults are TCN-45-S: 5 blocks, K = 7, dilations 1, 4, 16, 64, 256.
    """

    def __init__(
        self,
        num_controls: int = 0,
        num_blocks: int = 5,
        kernel_size: int = 7,
        dilation_growth: int = 4,
        channel_width: int = 16,
        channel_growth: int = 1,
        stack_size: int = 12,
        act_type: ActType = "tanh",
        residual: bool = True,
        direct_path: bool = False,
        output_activation: OutputActivation = "tanh",
        conditioning: ConditioningRecipe | None = None,
        residual_delay: int = 0,
        cold_start: bool = False,
    ) -> None:
        """
        Args:
            num_controls: controls of the device; supplied by the data.
            num_blocks: blocks; block n has dilation dilation_growth^(n mod stack_size).
            channel_growth: factor of the width from block to block.
            direct_path: add a learned gain times the input before the output activation.
            conditioning: recipe, e.g. the class TFiLM.
            residual_delay, cold_start: 1 and true for a net of the published code, see :class:`ConvStack`.
        """
        super().__init__(conditioning, num_controls, direct_path, output_activation, residual_delay, cold_start)
        channels = widths(num_blocks, channel_width, channel_growth)
        for n, dilation in enumerate(dilations(num_blocks, dilation_growth, stack_size)):
            conv = CausalConv1d(channels[n], channels[n + 1], kernel_size, dilation)
            modulation = self.conditioning.modulation(channels[n + 1])
            self.add(TCNBlock(conv, modulation, act_type, residual, residual_delay))
        self.mix = nn.Conv1d(channels[-1], 1, 1)

    def read_out(self, h: Tensor) -> Tensor:
        return self.mix(h)


class TCNBlock(ConvBlock):
    """act(conditioning(conv(h))) + w h, both terms at the same sample unless the residual is delayed."""

    def __init__(
        self, conv: CausalConv1d, modulation: Modulation, act_type: ActType, residual: bool, residual_delay: int
    ) -> None:
        super().__init__(conv, modulation, residual_delay)
        self.act = make_activation(act_type, conv.out_channels)
        self.whole = act_type == "tanh"
        self.residual = ChannelScale(conv.in_channels, conv.out_channels) if residual else None

    def finish(self, z: Tensor, held: Held | None, x: Tensor, h: Any) -> Tensor:
        return bend_beside(self.act, z, held, x, self.residual)

    def run_whole(self, x: Tensor, context: Tensor, held: Held | None, h: Any) -> tuple[Tensor, Tensor]:
        return self.conv.tanh_block(x, context, held, None if self.residual is None else self.residual.weight)
