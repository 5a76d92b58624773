"""The forms in which linear layers are exported: tables of what a block of samples makes, and taps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.dsp import ssm
from nablafx.dsp.envelopes import level
from nablafx.export.forms import export_form
from nablafx.export.nam import NamLinear
from nablafx.export.operators import block_for, diagonal_scan
from nablafx.layers.diagonal_ssm import DiagonalSSM
from nablafx.layers.envelopes import EnvelopeBank
from nablafx.layers.resonators import ResonatorBank
from nablafx.processors.fir import TapsProcessor


class StateSpace(nn.Module):
    """A diagonal state-space system as one table: what a block of samples and the state before it make.

    State: (1, H, 2, N), real and imaginary parts.
    """

    table: Tensor
    powers: Tensor

    def __init__(self, system: ssm.Diagonal, block_size: int, dtype: torch.dtype) -> None:
        super().__init__()
        self._system = system
        powers = torch.exp(system.log_z.unsqueeze(-1) * torch.arange(block_size + 1))
        response = F.pad(ssm.kernel(system, block_size), (block_size - 1, 0))
        entry = (system.gain.unsqueeze(-1) * powers[..., :-1]).flip(-1).transpose(-1, -2)
        readout = 2 * system.readout.unsqueeze(-1) * powers[..., 1:]
        re, im = (torch.diag_embed(part) for part in (powers[..., -1].real, powers[..., -1].imag))
        rows = (
            [response.unfold(-1, block_size, 1).flip(-2), entry.real, entry.imag],
            [readout.real, re, im],
            [-readout.imag, -im, re],
        )
        self.register_buffer("table", torch.cat([torch.cat(row, dim=-1) for row in rows], dim=-2).to(dtype))
        self.register_buffer("powers", torch.view_as_real(powers).permute(2, 0, 3, 1).to(dtype).contiguous())

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return diagonal_scan(x, state, self.table, self.powers)

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state = ssm.steady_state(x.squeeze(-1), self._system)
        y, _ = ssm.step(x.squeeze(-1), self._system, state)
        return y.unsqueeze(-1), torch.view_as_real(state).transpose(-1, -2)


@export_form.register
def _(layer: DiagonalSSM, block_size: int | None) -> nn.Module:
    return StateSpace(layer.system(), block_for(block_size), layer.D.dtype)


class Spread(StateSpace):
    """A bank of systems that all hear one channel."""

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x.expand(-1, len(self._system.direct), -1), state)

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().rest(x.expand(-1, len(self._system.direct), -1))


@export_form.register
def _(layer: ResonatorBank, block_size: int | None) -> nn.Module:
    return Spread(layer.system(), block_for(block_size), layer.D.dtype)


class Followers(nn.Module):
    """An EnvelopeBank as systems of one state, whose imaginary part stays 0."""

    def __init__(self, layer: EnvelopeBank, block_size: int) -> None:
        super().__init__()
        poles = layer.poles().unsqueeze(-1)
        log_z, gain, readout = (part.to(torch.complex128) for part in (poles.log(), 1 - poles, 0.5 + 0 * poles))
        system = ssm.Diagonal(log_z, gain, readout, torch.zeros(len(poles), dtype=torch.float64))
        self.channels = len(poles)
        self.followers = StateSpace(system, block_size, torch.float64)

    def forward(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self._told(z, *self.followers(self._magnitudes(z), state))

    def rest(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._told(z, *self.followers.rest(self._magnitudes(z)))

    def _magnitudes(self, z: Tensor) -> Tensor:
        return z[:, -self.channels :].abs().double()

    def _told(self, z: Tensor, e: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([z[:, : -self.channels], level(e.to(z.dtype))], dim=1).transpose(1, 2), state


@export_form.register
def _(layer: EnvelopeBank, block_size: int | None) -> nn.Module:
    return Followers(layer, block_for(block_size))


class FIR(nn.Module):
    """A FIR filter of the taps that its processor has."""

    taps: Tensor

    def __init__(self, processor: TapsProcessor) -> None:
        super().__init__()
        self.register_buffer("taps", processor.taps().detach())

    def forward(self, x: Tensor, u: None, state: Tensor, dry: Tensor) -> tuple[Tensor, Tensor]:
        return _convolved(x, self.taps, state)

    def rest(self, x: Tensor, u: None, dry: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.taps.sum(), x.expand(-1, -1, len(self.taps) - 1)


@export_form.register
def _(layer: TapsProcessor, block_size: int | None) -> nn.Module:
    return FIR(layer)


class ImpulseResponse(nn.Module):
    """The impulse response of a .nam file, an effect of its own."""

    def __init__(self, net: NamLinear) -> None:
        super().__init__()
        self.net = net

    def resting(self, x: Tensor, controls: None) -> Tensor:
        return self.net.resting(x, controls)

    def process(self, x: Tensor, controls: None, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = _convolved(x, self.net.response, state)
        return (y if self.net.bias is None else y + self.net.bias), state


@export_form.register
def _(layer: NamLinear, block_size: int | None) -> nn.Module:
    return ImpulseResponse(layer)


def _convolved(x: Tensor, taps: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`nablafx.dsp.filtering.fir`, for any number of samples in one way: directly."""
    x = torch.cat([context, x], dim=-1)
    return F.conv1d(x, taps.flip(0).view(1, 1, -1)), x[..., x.shape[-1] - len(taps) + 1 :]
