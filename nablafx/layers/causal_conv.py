"""Causal dilated convolution whose past is an argument."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.dsp.filtering import fir
from nablafx.kernels import conv
from nablafx.layers.held import Held, governing

# weight (C, C), bias (C), and weight (C) of the skip
Mixing = tuple[Tensor, Tensor, Tensor]


class CausalConv1d(nn.Conv1d):
    """y[n] = b + Σ_k W_k x[n - d (K - 1 - k)], the samples before x[0] coming from `context`.

    The last tap meets the newest sample: a convolution is aligned with a residual taken from the same input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation, groups=groups, bias=bias)
        self.context_length = (kernel_size - 1) * dilation

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x (B, C, T), context (B, C, context_length) -> y (B, out, T) and the context of what follows."""
        if self.groups > 1:
            y = F.conv1d(torch.cat([context, x], dim=-1), self.weight, self.bias, 1, 0, self.dilation, self.groups)
        else:
            y = conv.convolve(x, context, self.weight, self.bias, self.dilation[0])
        return y, self._following(x, context)

    def tanh_block(
        self, x: Tensor, context: Tensor, held: Held | None, residual: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """tanh(γ y + β) + residual (out, 1) times x, and the context; of one group."""
        given = (self.weight, self.bias, self.dilation[0], *governing(held))
        return conv.tanh_block(x, context, *given, residual), self._following(x, context)

    def gated_block(
        self, x: Tensor, context: Tensor, held: Held | None, with_residual: bool, mixing: Mixing
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """h and s of :func:`nablafx.kernels.conv.reference.finish_gate`, and the context; of one group."""
        given = (self.weight, self.bias, self.dilation[0], *governing(held))
        return conv.gated_block(x, context, *given, with_residual, *mixing), self._following(x, context)

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Answer to a constant input x (B, C, 1) held for ever: y (B, out, 1) and the context it leaves."""
        y = F.conv1d(x, self.weight.sum(-1, keepdim=True), self.bias, groups=self.groups)
        return y, x.expand(-1, -1, self.context_length)

    def _following(self, x: Tensor, context: Tensor) -> Tensor:
        """The last samples of both."""
        length = x.shape[-1]
        if length < self.context_length:
            return torch.cat([context[..., length:], x], dim=-1)
        return x[..., length - self.context_length :]


class LongFIR(CausalConv1d):
    """y = h * x + b of one channel by FFTs, for filters of hundreds of taps; begins as the audio itself.

    State and weights are those of the convolution, whose last tap meets the newest sample.
    """

    def __init__(self, num_taps: int) -> None:
        super().__init__(1, 1, num_taps)
        assert self.bias is not None
        with torch.no_grad():
            self.weight.zero_()
            self.weight[..., -1] = 1.0
            self.bias.zero_()

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x (B, 1, T), context (B, 1, num_taps - 1) -> y (B, 1, T) and the context of what follows."""
        assert self.bias is not None
        y, context = fir(x, self.weight[0, 0].flip(0), context)
        return y + self.bias, context
