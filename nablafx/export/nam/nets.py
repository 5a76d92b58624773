"""The other networks of .nam files."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from nablafx.dsp.filtering import fir
from nablafx.export.nam.activations import make_activation
from nablafx.export.nam.base import LONGEST, WIDEST, Net, architecture
from nablafx.export.nam.fields import Fields
from nablafx.export.nam.layers import make_conv
from nablafx.layers.causal_conv import CausalConv1d
from nablafx.layers.recurrent import Recurrent

DEEPEST = 64
"""Layers of an LSTM."""


@architecture
class NamLSTM(Net):
    """Layers of LSTM cells and a linear read-out. A file has the state (2, layers, hidden) that silence left."""

    architecture = "LSTM"
    start: Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        fields = Fields(config, "config")
        fields.integer("input_size", 1, 1)
        hidden, layers = fields.integer("hidden_size", 1, WIDEST), fields.integer("num_layers", 1, DEEPEST)
        self.lstm = Recurrent(1, hidden, layers)
        self.linear = nn.Linear(hidden, self.outputs)
        self.register_buffer("start", torch.zeros(2, layers, hidden))

    def slots(self) -> dict[str, torch.Size]:
        hidden, shapes = self.lstm.hidden_size, {}
        for n in range(self.lstm.num_layers):
            inputs = hidden if n else 1
            shapes[f"matrix_l{n}"] = torch.Size((4 * hidden, inputs + hidden))
            shapes[f"bias_l{n}"] = torch.Size((4 * hidden,))
            shapes[f"start_l{n}"] = torch.Size((2, 1, hidden))
        return {**shapes, "linear.weight": self.linear.weight.shape, "linear.bias": self.linear.bias.shape}

    def named(self, slots: dict[str, Tensor]) -> dict[str, Tensor]:
        layers = range(self.lstm.num_layers)
        named = {name: slots[name] for name in ("linear.weight", "linear.bias")}
        named["start"] = torch.cat([slots[f"start_l{n}"] for n in layers], dim=1)
        for n in layers:
            bias, matrix = slots[f"bias_l{n}"], slots[f"matrix_l{n}"]
            # one bias there, two here
            named |= {f"lstm.bias_ih_l{n}": bias, f"lstm.bias_hh_l{n}": torch.zeros_like(bias)}
            w_ih, w_hh = matrix.tensor_split([matrix.shape[1] - self.lstm.hidden_size], dim=1)
            named |= {f"lstm.weight_ih_l{n}": w_ih.contiguous(), f"lstm.weight_hh_l{n}": w_hh.contiguous()}
        return named

    def process(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        h, state = self.lstm(x.transpose(1, 2), state)
        return self.linear(h).transpose(1, 2), state

    def settle(self, x: Tensor) -> tuple[Tensor, Any]:
        h, c = (s.expand(x.shape[0], -1, -1) for s in self.start)
        out, state = self.lstm.rest(x.squeeze(1), (h, c))
        return self.linear(out).unsqueeze(-1), state


@architecture
class NamConvNet(Net):
    """A chain of convolutions of two taps, each followed by a normalisation, if there is one, and an activation."""

    architecture = "ConvNet"

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        fields = Fields(config, "config")
        width, groups = fields.integer("channels", 1, WIDEST), fields.integer("groups", 1, WIDEST, 1)
        normalised, channels = fields.flag("batchnorm"), 1
        self.blocks = nn.ModuleList()
        for dilation in fields.integers("dilations", 1, LONGEST):
            conv = make_conv(fields, (channels, width), 2, dilation, groups, bias=not normalised)
            activation = make_activation(fields.content.get("activation"), fields.place("activation"), width)
            self.blocks.append(ConvNetBlock(conv, Normalisation(width) if normalised else nn.Identity(), activation))
            channels = width
        self.head = nn.Conv1d(width, self.outputs, 1)

    @property
    def chain(self) -> list[ConvNetBlock]:
        """The blocks, by their type."""
        return cast("list[ConvNetBlock]", list(self.blocks))

    @property
    def receptive_field(self) -> int:
        return 1 + sum(block.conv.context_length for block in self.chain)

    def process(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        contexts = []
        for block, context in zip(self.chain, state, strict=True):
            z, context = block.conv(x, context)
            x = block.finish(z)
            contexts.append(context)
        return self.head(x), contexts

    def settle(self, x: Tensor) -> tuple[Tensor, Any]:
        contexts = []
        for block in self.chain:
            z, context = block.conv.rest(x)
            x = block.finish(z)
            contexts.append(context)
        return self.head(x), contexts


class ConvNetBlock(nn.Module):
    def __init__(self, conv: CausalConv1d, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation

    def finish(self, z: Tensor) -> Tensor:
        """What becomes of the convolution z."""
        return self.activation(self.norm(z))


class Normalisation(nn.Module):
    """weight (x - mean) / sqrt(var + eps) + bias per channel, all five of them weights of a file."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean, self.var = nn.Parameter(torch.zeros(channels, 1)), nn.Parameter(torch.ones(channels, 1))
        self.weight, self.bias = nn.Parameter(torch.ones(channels, 1)), nn.Parameter(torch.zeros(channels, 1))
        self.eps = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x - self.mean, self.weight * torch.rsqrt(self.var + self.eps))


@architecture
class NamLinear(Net):
    """An impulse response, as the Core plays it: the first weight meets the newest sample."""

    architecture = "Linear"

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        fields = Fields(config, "config")
        fields.integer("out_channels", 1, 1, 1)
        self.response = nn.Parameter(torch.zeros(fields.integer("receptive_field", 1, LONGEST)))
        self.bias = nn.Parameter(torch.zeros(())) if fields.flag("bias") else None

    @property
    def receptive_field(self) -> int:
        return len(self.response)

    def process(self, x: Tensor, controls: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = fir(x, self.response, state)
        return (y if self.bias is None else y + self.bias), state

    def settle(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.response.sum() * x
        return (y if self.bias is None else y + self.bias), x.expand(-1, -1, len(self.response) - 1)
