"""A diagonal state-space system per channel, learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx.dsp import ssm


class DiagonalSSM(nn.Module):
    """H independent systems of N complex states, A = -exp(log_A_real) + i A_imag, step exp(log_dt) (arXiv 2206.11893).

    State: (B, H, N, 2), real and imaginary part.
    """

    def __init__(self, channels: int, num_states: int) -> None:
        super().__init__()
        low, high = math.log(1e-3), math.log(1e-1)
        self.log_dt = nn.Parameter(torch.empty(channels).uniform_(low, high))
        self.log_A_real = nn.Parameter(torch.full((channels, num_states), math.log(0.5)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(num_states).float().repeat(channels, 1))
        self.C = nn.Parameter(torch.view_as_real(torch.randn(channels, num_states, dtype=torch.complex64)))
        self.D = nn.Parameter(torch.randn(channels))

    def system(self) -> ssm.Diagonal:
        """The discrete system that the parameters stand for."""
        A = torch.complex(-self.log_A_real.double().exp(), self.A_imag.double())
        return ssm.discretize(A, self.log_dt.double().exp(), torch.view_as_complex(self.C.double()), self.D)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, H, T) -> y (B, H, T), state."""
        y, after = ssm.scan(x, self.system(), torch.view_as_complex(state.contiguous()))
        return y, torch.view_as_real(after)

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Answer to a constant input x (B, H, 1) held for ever."""
        system = self.system()
        state = ssm.steady_state(x.squeeze(-1), system)
        y, _ = ssm.step(x.squeeze(-1), system, state)
        return y.unsqueeze(-1), torch.view_as_real(state)
