"""Gated convolutional network, a feed-forward WaveNet (Rethage et al. 2018, arXiv 1706.07162; Comunità et al. 2023)."""

from __future__ import annotations

from typing import NamedTuple

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
        residual_delay: int = 0,
        cold_start: bool = False,
    ) -> None:
        """Arguments as for :class:`nablafx.effects.tcn.TCN`."""
        super().__init__(conditioning, num_controls, direct_path, output_activation, residual_delay, cold_start)
        channels = widths(num_blocks, channel_width, channel_growth)
        # the read-outs of the blocks are slices of one 1x1 convolution over all of them, and start like it
        bound = sum(channels[1:]) ** -0.5
        for n, dilation in enumerate(dilations(num_blocks, dilation_growth, stack_size)):
            conv = CausalConv1d(channels[n], 2 * channels[n + 1], kernel_size, dilation)
            modulation = self.conditioning.modulation(2 * channels[n + 1])
            block = GCNBlock(conv, modulation, residual, residual_delay)
            nn.init.uniform_(block.skip.weight, -bound, bound)
            self.add(block)
        # fed by nothing, and so without a gradient, which training over several processes would wait for
        block.mix.requires_grad_(False)
        self.bias = nn.Parameter(torch.empty(()).uniform_(-bound, bound))

    def read_in(self, x: Tensor) -> Features:
        return Features(x)

    def read_out(self, h: Features) -> Tensor:
        assert h.latest is not None
        return h.latest + self.bias

    def beside(self, x: Tensor, h: Features) -> Tensor | None:
        direct = super().beside(x, h)
        if direct is None or h.earlier is None:
            return h.earlier if direct is None else direct
        return h.earlier + direct[..., direct.shape[-1] - h.earlier.shape[-1] :]


class Features(NamedTuple):
    """What flows between blocks: features (B, C, T), and what the output hears of the block before and of earlier ones.

    The latter may begin before the features: (B, 1, T or more).
    """

    x: Tensor
    latest: Tensor | None = None
    earlier: Tensor | None = None


class GCNBlock(ConvBlock):
    """Gate, 1x1 mix with the identity beside it, and this block's part of the output."""

    def __init__(self, conv: CausalConv1d, modulation: Modulation, residual: bool, residual_delay: int) -> None:
        super().__init__(conv, modulation, residual_delay)
        width = conv.out_channels // 2
        self.residual = residual
        self.repeats = width // conv.in_channels
        self.mix = nn.Conv1d(width, width, 1)
        self.skip = nn.Conv1d(width, 1, 1, bias=False)

    def features(self, h: Features) -> Tensor:
        return h.x

    def finish(self, z: Tensor, x: Tensor, h: Features) -> Features:
        signal, gate = z.chunk(2, dim=1)
        z = torch.tanh(signal) * torch.sigmoid(gate)
        earlier = h.latest
        if earlier is not None and h.earlier is not None:
            earlier = earlier + h.earlier[..., h.earlier.shape[-1] - earlier.shape[-1] :]
        mixed = self.mix(z)
        if self.residual:
            if 1 < x.shape[1] < z.shape[1]:
                x = x.repeat_interleave(self.repeats, dim=1)
            mixed = mixed + x
        return Features(mixed, self.skip(z), earlier)
