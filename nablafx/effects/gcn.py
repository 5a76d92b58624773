"""Gated convolutional network, a feed-forward WaveNet (Rethage et al. 2018, arXiv 1706.07162; Comunità et al. 2023)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nablafx.conditioning import Modulation
from nablafx.effects.stack import ConditioningRecipe, ConvBlock, ConvStack, dilations, widths
from nablafx.kernels import conv
from nablafx.layers.activation import OutputActivation
from nablafx.layers.causal_conv import CausalConv1d, Mixing
from nablafx.layers.held import Held, governing


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
            convolution = CausalConv1d(channels[n], 2 * channels[n + 1], kernel_size, dilation)
            modulation = self.conditioning.modulation(2 * channels[n + 1])
            block = GCNBlock(convolution, modulation, residual, residual_delay)
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

    def after(self, x: Tensor, latest: Tensor) -> Features:
        """What flows out of a block."""
        earlier = self.latest
        if earlier is not None and self.earlier is not None:
            earlier = earlier + self.earlier[..., self.earlier.shape[-1] - earlier.shape[-1] :]
        return Features(x, latest, earlier)


class GCNBlock(ConvBlock):
    """Gate, 1x1 mix with the identity beside it, and this block's part of the output."""

    def __init__(self, convolution: CausalConv1d, modulation: Modulation, residual: bool, residual_delay: int) -> None:
        super().__init__(convolution, modulation, residual_delay)
        width = convolution.out_channels // 2
        self.residual = residual
        self.mix = nn.Conv1d(width, width, 1)
        self.skip = nn.Conv1d(width, 1, 1, bias=False)

    def features(self, h: Features) -> Tensor:
        return h.x

    def finish(self, z: Tensor, held: Held | None, x: Tensor, h: Features) -> Features:
        mixed, skip = conv.finish_gate(z, *governing(held), x if self.residual else None, *self._mixing)
        return h.after(mixed, skip)

    def run_whole(self, x: Tensor, context: Tensor, held: Held | None, h: Features) -> tuple[Features, Tensor]:
        (mixed, skip), context = self.conv.gated_block(x, context, held, self.residual, self._mixing)
        return h.after(mixed, skip), context

    @property
    def _mixing(self) -> Mixing:
        assert self.mix.bias is not None
        return self.mix.weight.squeeze(-1), self.mix.bias, self.skip.weight.view(-1)
