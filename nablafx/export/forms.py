"""The layers in the form in which they are exported: state of fixed shape, any number of samples, real numbers.

Each computes what its layer does in evaluation, for one stream. `export_form` finds it.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.dsp import ssm
from nablafx.export.nam import NamLinear
from nablafx.export.operators import block_for, block_peaks, diagonal_scan, lstm
from nablafx.kernels import conv
from nablafx.layers.block_lstm import BlockLSTM
from nablafx.layers.causal_conv import CausalConv1d, Mixing
from nablafx.layers.diagonal_ssm import DiagonalSSM
from nablafx.layers.held import Held, governing
from nablafx.layers.recurrent import Recurrent
from nablafx.layers.running_norm import RunningNorm
from nablafx.processors.fir import TapsProcessor

State = Any


@singledispatch
def export_form(layer: nn.Module, block_size: int | None) -> nn.Module:
    """The layer for calls of `block_size` samples (None: any number); most can be exported as they are."""
    for name, child in layer.named_children():
        setattr(layer, name, export_form(child, block_size))
    return layer


class Convolution(nn.Module):
    """A causal convolution whose context holds what differs from its `level`, what it hears in silence.

    The level is taken from the input and given back to the bias, so that nothing has to be added to a long context.
    """

    weight: Tensor
    bias: Tensor
    level: Tensor

    def __init__(self, conv: CausalConv1d) -> None:
        super().__init__()
        self.context_length = conv.context_length
        self.shape = {"dilation": conv.dilation[0], "groups": conv.groups}
        self.register_buffer("weight", conv.weight.detach())
        self.register_buffer("bias", torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach())
        self.register_buffer("level", torch.zeros(1, conv.in_channels, 1))
        self._heard = self.level

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([context, x - self.level], dim=-1)
        return F.conv1d(x, self.weight, self.bias, **self.shape), x[..., x.shape[-1] - self.context_length :]

    def tanh_block(
        self, x: Tensor, context: Tensor, held: Held | None, residual: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        z, context = self(x, context)
        return conv.finish_tanh(z, *governing(held), x, residual), context

    def gated_block(
        self, x: Tensor, context: Tensor, held: Held | None, with_residual: bool, mixing: Mixing
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        z, context = self(x, context)
        return conv.finish_gate(z, *governing(held), x if with_residual else None, *mixing), context

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._heard, x = x, x - self.level
        return self._at_rest(x), x.expand(-1, -1, self.context_length)

    def settle(self) -> None:
        """Let what it was asked about last be its level."""
        self.bias, self.level = self._at_rest(self._heard - self.level).view(-1), self._heard.clone()

    def _at_rest(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight.sum(-1, keepdim=True), self.bias, groups=self.shape["groups"])


@export_form.register
def _(layer: CausalConv1d, block_size: int | None) -> nn.Module:
    return Convolution(layer) if layer.context_length else layer


class Cell(nn.Module):
    """One layer of an LSTM."""

    w_ih: Tensor
    w_hh: Tensor
    bias: Tensor

    def __init__(self, lstm: Recurrent, layer: int) -> None:
        super().__init__()
        weights = {name: value.detach() for name, value in lstm.named_parameters() if name.endswith(f"_l{layer}")}
        self.register_buffer("w_ih", weights[f"weight_ih_l{layer}"])
        self.register_buffer("w_hh", weights[f"weight_hh_l{layer}"])
        self.register_buffer("bias", weights[f"bias_ih_l{layer}"] + weights[f"bias_hh_l{layer}"])

    def forward(self, x: Tensor, h: Tensor, c: Tensor, steps: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        return lstm(x, h, c, self.w_ih, self.w_hh, self.bias, steps)


class Recurrence(nn.Module):
    """An LSTM, layer by layer."""

    def __init__(self, layers: Recurrent) -> None:
        super().__init__()
        self.cells = nn.ModuleList(Cell(layers, n) for n in range(layers.num_layers))
        # of the layer the method alone: its weights need not be exported twice
        self._rest = layers.rest

    def forward(self, x: Tensor, state: State, steps: Tensor | None = None) -> tuple[Tensor, State]:
        """x (1, T, I) and h, c (1, layers, H) -> output (1, T, H) and the state after `steps` of them."""
        after = []
        for cell, h, c in zip(self.cells, *(state[name].split(1, dim=1) for name in ("h", "c")), strict=True):
            x, h, c = cell(x, h, c, steps)
            after.append((h, c))
        h, c = (torch.cat(s, dim=1) if len(s) > 1 else s[0] for s in zip(*after, strict=True))
        return x, {"h": h, "c": c}

    def rest(self, x: Tensor, start: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, State]:
        out, (h, c) = self._rest(x, start)
        return out, {"h": h, "c": c}


@export_form.register
def _(layer: Recurrent, block_size: int | None) -> nn.Module:
    return Recurrence(layer)


class BlocksAhead(nn.Module):
    """A BlockLSTM that looks ahead, its output told at every sample: only the last block of a stream may be cut short.

    State: the LSTM's h and c.
    """

    def __init__(self, layer: BlockLSTM) -> None:
        super().__init__()
        self.size = layer.block_size
        self.squeeze = layer.squeeze
        self.lstm = Recurrence(layer.lstm)
        self._features, self._rest = layer.features, layer.rest

    def forward(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Held, State]:
        size, length = self.size, x.shape[-1]
        pooled = block_peaks(x, torch.zeros(1, dtype=torch.int64), size)
        blocks = torch.tensor((length + size - 1) // size)
        out, state = self.lstm(self._features(pooled, controls), state, blocks)
        return Held(out.index_select(1, torch.arange(length) // size).transpose(1, 2), 1), state

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, State]:
        held, (_, h, c) = self._rest(x, controls)
        return held, {"h": h, "c": c}


class BlocksBehind(BlocksAhead):
    """A BlockLSTM that does not look ahead, its output told at every sample.

    State: `position`, the samples heard so far, which all of them share; the `peak` of the unfinished block (1, C, 1),
    anything where it has no sample yet; and the LSTM's h and c.
    """

    def forward(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Held, State]:
        size, length = self.size, x.shape[-1]
        begun = state["position"] % size
        pooled = block_peaks(x, begun, size)
        begins = (torch.arange(pooled.shape[-1]) == 0) & (begun > 0)
        pooled = torch.maximum(pooled, torch.where(begins, state["peak"], -torch.inf))
        completed = (begun + length) // size
        out, made = self.lstm(self._features(pooled, controls), state, completed.squeeze(0))
        governing = (begun + torch.arange(length)) // size
        values = torch.cat([state["h"], out], dim=1).index_select(1, governing)
        peak = pooled.index_select(-1, completed.clamp(max=pooled.shape[-1] - 1))
        after = {"position": state["position"] + length, "peak": peak, **made}
        return Held(values.transpose(1, 2), 1), after

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, State]:
        held, state = super().rest(x, controls)
        return held, {"position": torch.zeros(1, dtype=torch.int64), "peak": torch.zeros_like(x), **state}


@export_form.register
def _(layer: BlockLSTM, block_size: int | None) -> nn.Module:
    return BlocksAhead(layer) if layer.lookahead else BlocksBehind(layer)


class Statistics(nn.Module):
    """A RunningNorm that gathers nothing for training."""

    def __init__(self, norm: RunningNorm) -> None:
        super().__init__()
        self.norm = norm

    def affine(self) -> tuple[Tensor, Tensor]:
        return self.norm.affine()

    def empty(self, x: Tensor) -> State:
        return ()

    def gather(self, x: Tensor, state: State) -> State:
        return state


@export_form.register
def _(layer: RunningNorm, block_size: int | None) -> nn.Module:
    return Statistics(layer)


class StateSpace(nn.Module):
    """A diagonal state-space system as one table: what a block of samples and the state before it make.

    State: (1, H, 2, N), real and imaginary parts.
    """

    table: Tensor
    powers: Tensor

    def __init__(self, layer: DiagonalSSM, block_size: int) -> None:
        super().__init__()
        self._rest = layer.rest
        system = layer.system()
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
        dtype = layer.D.dtype
        self.register_buffer("table", torch.cat([torch.cat(row, dim=-1) for row in rows], dim=-2).to(dtype))
        self.register_buffer("powers", torch.view_as_real(powers).permute(2, 0, 3, 1).to(dtype).contiguous())

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return diagonal_scan(x, state, self.table, self.powers)

    def rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self._rest(x)
        return y, state.transpose(-1, -2)


@export_form.register
def _(layer: DiagonalSSM, block_size: int | None) -> nn.Module:
    return StateSpace(layer, block_for(block_size))


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
