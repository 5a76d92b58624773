"""Normalisation that computes the same in training, evaluation and streaming."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nablafx import processes

State = tuple[Tensor, Tensor, Tensor]

_MOMENTUM = 0.1


class RunningNorm(nn.Module):
    """(x - mean) / sqrt(var + eps) per channel, by running statistics also in training; no affine part.

    Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) trains a net that sees its whole batch at once,
    future included, and evaluates another. Here a forward pass only gathers the sums of what it saw, into the state,
    and `absorb` moves the statistics between optimizer steps: cutting the input changes nothing.

    State: per item the count (B, 1), sum (B, C) and sum of squares (B, C) since the last `absorb`.
    """

    mean: Tensor
    var: Tensor
    updates: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.register_buffer("updates", torch.zeros(()))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Gain and bias (C, 1) that normalise."""
        gain = torch.rsqrt(self.var + self.eps)
        return gain.unsqueeze(-1), -(self.mean * gain).unsqueeze(-1)

    def empty(self, x: Tensor) -> State:
        """The state that has gathered nothing, for features x (B, C, ...)."""
        zeros = torch.zeros_like(x[..., 0]).detach()
        return zeros[:, :1], zeros, zeros

    @torch.no_grad()
    def gather(self, x: Tensor, state: State) -> State:
        """Add the samples of x (B, C, T) to the sums; only in training, where `absorb` will ask for them."""
        if not self.training:
            return state
        count, total, squares = state
        length = x.shape[-1]
        return count + length, total + x.sum(-1), squares + torch.linalg.vecdot(x, x)

    @torch.no_grad()
    def absorb(self, state: State) -> State:
        """Move the statistics a tenth of the way (faster in the first steps) to those of the state; empties it.

        What processes that train together have gathered is added: all of them have to call it.
        """
        sums = processes.summed(torch.cat([s.sum(0).double() for s in state]))
        count, total, squares = sums.split([s.shape[-1] for s in state])
        heard = (count > 0).float().squeeze()
        mean = total / count.clamp_min(1)
        var = (squares / count.clamp_min(1) - mean * mean).clamp_min(0)
        rate = torch.clamp_min(1 / (self.updates + 1), _MOMENTUM) * heard
        self.mean.lerp_(mean.to(self.mean), rate)
        self.var.lerp_(var.to(self.var), rate)
        self.updates += heard
        return tuple(torch.zeros_like(s) for s in state)  # type: ignore[return-value]
