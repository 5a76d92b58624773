"""Causal dilated convolution whose past is an argument."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        x = torch.cat([context, x], dim=-1)
        y = F.conv1d(x, self.weight, self.bias, dilation=self.dilation, groups=self.groups)
        return y, x[..., x.shape[-1] - self.context_length :]

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Answer to a constant input x (B, C, 1) held for ever: y (B, out, 1) and the context it leaves."""
        y = F.conv1d(x, self.weight.sum(-1, keepdim=True), self.bias, groups=self.groups)
        return y, x.expand(-1, -1, self.context_length)
