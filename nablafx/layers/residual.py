"""The residual path of the convolution and state-space blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nablafx.kernels import conv
from nablafx.layers.held import Held, governing


class ChannelScale(nn.Module):
    """A bias-free 1x1 convolution with one input channel per group: output o is w_o times input o // (out / in)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.repeats, remainder = divmod(out_channels, in_channels)
        if remainder:
            raise ValueError(
                f"{type(self).__name__}: {out_channels} output channels are not a multiple of "
                f"{in_channels} input channels; use a whole-number channel_growth"
            )
        # a grouped 1x1 convolution has a fan-in of one, for which torch's default is U(-1, 1)
        self.weight = nn.Parameter(torch.empty(out_channels, 1).uniform_(-1, 1))

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        """x (B, in, T), added (B, out, T) -> added + w x, (B, out, T)."""
        return torch.addcmul(added, conv.repeated(x, added), self.weight)


def bend_beside(act: nn.Module, z: Tensor, held: Held | None, x: Tensor, residual: ChannelScale | None) -> Tensor:
    """act(γ z + β) + w x for z (B, out, T), x (B, in, T), in one pass where the activation is tanh."""
    if isinstance(act, nn.Tanh):
        return conv.finish_tanh(z, *governing(held), x, None if residual is None else residual.weight)
    z = act(z if held is None else held.modulate(z))
    return z if residual is None else residual(x, z)
