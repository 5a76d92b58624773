"""Gated convolutional network, a feed-forward WaveNet (Rethage et al. 2018, arXiv 1706.07162; Comunità et al. 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nablafx.conditioning import Modulation
from nablafx.effects.stack import ConditioningRecipe, ConvBlock, ConvStack, dilations, widths
from nablafx.layers.activation import OutputActivation
from nablafx.layers.causal_conv import CausalConv1d


class GCN(ConvStack):
    """Dilated causal convolutions with gates; the output hears the gated features of every block.

    z = tanh(first half) sigmoid(second half) of conditioning(conv(h)); h <- mix(z) + h; y = Σ_blocks w z + b. The last
    block's mix feeds nothing and is kept because the published net has it.

    The defaults are GCN-45-S: 5 blocks, K = 7, dilations 1, 4, 16, 64, 256.
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
        residual: bool = True,
        direct_path: bool = False,
        output_activation: OutputActivation = "none",
        conditioning: ConditioningRecipe | None = None,
    ) -> None:
        """Arguments as for :class:`nablafx.effects.tcn.TCN`."""
        super().__init__(conditioning, num_controls, direct_path, output_activation)
        channels = widths(num_blocks, channel_width, channel_growth)
        # the read-outs of the blocks are slices of one 1x1 convolution over all of them, and start like it
        bound = sum(channels[1:]) ** -0.5
        for n, dilation in enumerate(dilations(num_blocks, dilation_growth, stack_size)):
            conv = CausalConv1d(channels[n], 2 * channels[n + 1], kernel_size, dilation)
            modulation = self.conditioning.modulation(2 * channels[n + 1])
            block = GCNBlock(conv, modulation, residual)
            nn.init.uniform_(block.skip.weight, -bound, bound)
            self.blocks.append(block)
        # fed by nothing, and so without a gradient, which training over several processes would wait for
        block.mix.requires_grad_(False)
        self.bias = nn.Parameter(torch.empty(()).uniform_(-bound, bound))

    def read_in(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.bias

    def read_out(self, h: tuple[Tensor, Tensor]) -> Tensor:
        return h[1]


class GCNBlock(ConvBlock):
    """Gate, 1x1 mix with the identity beside it, and this block's part of the output."""

    def __init__(self, conv: CausalConv1d, modulation: Modulation, residual: bool) -> None:
        super().__init__(conv, modulation)
        width = conv.out_channels // 2
        self.residual = residual
        self.repeats = width // conv.in_channels
        self.mix = nn.Conv1d(width, width, 1)
        self.skip = nn.Conv1d(width, 1, 1, bias=False)

    def features(self, h: tuple[Tensor, Tensor]) -> Tensor:
        return h[0]

    def finish(self, z: Tensor, h: Any) -> tuple[Tensor, Tensor]:
        x, output = h
        signal, gate = z.chunk(2, dim=1)
        z = torch.tanh(signal) * torch.sigmoid(gate)
        output = output + self.skip(z)
        if not self.residual:
            return self.mix(z), output
        if 1 < x.shape[1] < z.shape[1]:
            x = x.repeat_interleave(self.repeats, dim=1)
        return self.mix(z) + x, output
