"""The parts of NAM's WaveNet. Modules are made in the order in which a file has their weights."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nablafx.export.nam.activations import make_activation
from nablafx.export.nam.base import LONGEST, WIDEST
from nablafx.export.nam.fields import Fields, text, whole
from nablafx.layers.causal_conv import CausalConv1d

FILMS = (
    "conv_pre",
    "conv_post",
    "input_mixin_pre",
    "input_mixin_post",
    "activation_pre",
    "activation_post",
    "layer1x1_post",
    "head1x1_post",
)
GATINGS = ("none", "gated", "blended")


def per_layer(fields: Fields, key: str, layers: int, default: Any = None) -> list[Any]:
    """A list with a value for each layer, or one value for all of them."""
    given = fields.content.get(key)
    given = default if given is None else given
    if not isinstance(given, list):
        return [given] * layers
    if len(given) != layers:
        raise ValueError(f"{fields.place(key)} has {len(given)} values, for {layers} layers")
    return given


def make_conv(fields: Fields, channels: tuple[int, int], kernel: int, dilation: int = 1, groups: int = 1, bias=True):
    """A causal convolution of `channels` (in, out) that a file describes in `fields`."""
    if (kernel - 1) * dilation > LONGEST:
        raise ValueError(
            f"{fields.place('dilations')}: {kernel} taps {dilation} apart span more than {LONGEST} samples"
        )
    if any(count % groups for count in channels):
        raise ValueError(f"{fields.place('groups')}: {channels[0]} and {channels[1]} channels are no {groups} groups")
    return CausalConv1d(*channels, kernel, dilation, groups, bias)


class FiLM(nn.Module):
    """scale(c) x + shift(c), both affine maps of the condition c at every sample."""

    def __init__(self, fields: Fields, condition_size: int, channels: int) -> None:
        super().__init__()
        self.shift = fields.flag("shift", True)
        outputs = (1 + self.shift) * channels
        self.read = make_conv(fields, (condition_size, outputs), 1, groups=fields.integer("groups", 1, WIDEST, 1))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        made = pointwise(self.read, c)
        if not self.shift:
            return made * x
        scale, shift = made.chunk(2, dim=1)
        return torch.addcmul(shift, scale, x)


class Unmodulated(nn.Module):
    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return x


def pointwise(conv: CausalConv1d, x: Tensor) -> Tensor:
    """A convolution of one tap, which has no past."""
    return conv(x, x[..., :0])[0]


class LayerPlan(NamedTuple):
    """What one layer of an array has of its own."""

    kernel: int
    dilation: int
    activation: Any
    gating: str
    secondary: Any


class Layer(nn.Module):
    """z = gate(conv(h) + mixin(c)); the next layer hears h + layer1x1(z), the head head1x1(z), or z itself."""

    def __init__(self, fields: Fields, plan: LayerPlan) -> None:
        super().__init__()
        channels, condition = fields.integer("channels", 1, WIDEST), fields.integer("condition_size", 1, WIDEST)
        self.width = fields.integer("bottleneck", 1, WIDEST, channels)
        self.gating = plan.gating
        z = self.width if plan.gating == "none" else 2 * self.width
        groups, mixin_groups = (fields.integer(key, 1, WIDEST, 1) for key in ("groups_input", "groups_input_mixin"))
        self.conv = make_conv(fields, (channels, z), plan.kernel, plan.dilation, groups)
        self.mixin = make_conv(fields, (condition, z), 1, groups=mixin_groups, bias=False)
        self.mix = _one_by_one(fields, "layer1x1", self.width, channels, active=True)
        self.head = _one_by_one(fields, "head1x1", self.width, head_width(fields), active=False)
        widths = (channels, z, condition, z, z, self.width, channels, head_width(fields))
        self.films = nn.ModuleDict(
            {name: _film(fields, name, condition, width) for name, width in zip(FILMS, widths, strict=True)}
        )
        if self.mix is None and self.width != channels:
            raise ValueError(f"{fields.place('bottleneck')} must be {channels}, the channels, without a layer1x1")
        for name, part in (("layer1x1", self.mix), ("head1x1", self.head)):
            if part is None and isinstance(self.films[f"{name}_post"], FiLM):
                raise ValueError(f"{fields.place(f'{name}_post_film')} is active, and {name} is not")
        place = fields.place("activation")
        self.activation = make_activation(plan.activation, place, self.width)
        secondary = "Sigmoid" if plan.secondary is None else plan.secondary
        self.gate = make_activation(secondary, fields.place("secondary_activation"), self.width)

    def forward(self, h: Tensor, c: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h (B, C, T), condition c, context of the convolution -> next h, what the head hears, context."""
        z, context = self.conv(self.films["conv_pre"](h, c), context)
        return (*self._finish(h, z, c), context)

    def rest(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, for constants (B, C, 1) held for ever."""
        z, context = self.conv.rest(self.films["conv_pre"](h, c))
        return (*self._finish(h, z, c), context)

    def _finish(self, h: Tensor, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        films = self.films
        mixed = pointwise(self.mixin, films["input_mixin_pre"](c, c))
        z = films["conv_post"](z, c) + films["input_mixin_post"](mixed, c)
        z = films["activation_post"](self._gated(films["activation_pre"](z, c)), c)
        heard = z if self.head is None else films["head1x1_post"](pointwise(self.head, z), c)
        if self.mix is None:
            return h, heard
        mixed = pointwise(self.mix, z)
        # the Core passes over this film unless the layer blends, and it is what people hear
        return h + (films["layer1x1_post"](mixed, c) if self.gating == "blended" else mixed), heard

    def _gated(self, z: Tensor) -> Tensor:
        if self.gating == "none":
            return self.activation(z)
        first, second = z.chunk(2, dim=1)
        made, gate = self.activation(first), self.gate(second)
        return made * gate if self.gating == "gated" else torch.lerp(first, made, gate)


def head_width(fields: Fields) -> int:
    """Channels that the layers of an array give to its head."""
    channels = fields.integer("channels", 1, WIDEST)
    if "head1x1" in fields and fields.object("head1x1").flag("active"):
        return fields.object("head1x1").integer("out_channels", 1, WIDEST)
    return fields.integer("bottleneck", 1, WIDEST, channels)


def _one_by_one(fields: Fields, key: str, inputs: int, outputs: int, active: bool) -> CausalConv1d | None:
    if key not in fields:
        return make_conv(fields, (inputs, outputs), 1) if active else None
    given = fields.object(key)
    groups = given.integer("groups", 1, WIDEST, 1)
    return make_conv(given, (inputs, outputs), 1, groups=groups) if given.flag("active") else None


def _film(fields: Fields, name: str, condition: int, channels: int) -> nn.Module:
    key = f"{name}_film"
    if key not in fields or fields.content[key] is False or not fields.object(key).flag("active", True):
        return Unmodulated()
    return FiLM(fields.object(key), condition, channels)


def layer_plans(fields: Fields) -> list[LayerPlan]:
    """The layers of an array, with the keys of every version of the format."""
    dilations = fields.integers("dilations", 1, LONGEST)
    count = len(dilations)
    if "kernel_size" in fields and "kernel_sizes" in fields:
        raise ValueError(f"{fields.place('kernel_size')} and kernel_sizes are both there; one says it")
    key = "kernel_size" if "kernel_size" in fields else "kernel_sizes"
    kernels = [whole(k, fields.place(key), 1, LONGEST) for k in per_layer(fields, key, count)]
    # before 0.6 a net was gated or not
    legacy = "gated" if fields.flag("gated", False) else "none"
    gatings = [text(g, fields.place("gating_mode"), GATINGS) for g in per_layer(fields, "gating_mode", count, legacy)]
    activations = per_layer(fields, "activation", count)
    secondary = per_layer(fields, "secondary_activation", count)
    return [LayerPlan(*plan) for plan in zip(kernels, dilations, activations, gatings, secondary, strict=True)]


class Head(NamedTuple):
    """The convolution from what an array's layers give to what the array gives."""

    outputs: int
    kernel: int
    bias: bool


def head_plan(fields: Fields) -> Head:
    """Of an array, with the keys of every version of the format."""
    if "head" not in fields:
        return Head(fields.integer("head_size", 1, WIDEST), 1, fields.flag("head_bias"))
    head = fields.object("head")
    kernel = head.integer("kernel_size", 1, LONGEST)
    return Head(head.integer("out_channels", 1, WIDEST), kernel, head.flag("bias"))


class LayerArray(nn.Module):
    """A stack of layers of one width; its head hears all of them, and the head of the array before it."""

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        channels, head = fields.integer("channels", 1, WIDEST), head_plan(fields)
        self.inputs = fields.integer("input_size", 1, WIDEST)
        self.rechannel = make_conv(fields, (self.inputs, channels), 1, bias=False)
        self.layers = nn.ModuleList(Layer(fields, plan) for plan in layer_plans(fields))
        self.head = make_conv(fields, (head_width(fields), head.outputs), head.kernel, bias=head.bias)

    def forward(self, h: Tensor, c: Tensor, head: Tensor | None, state: Any) -> tuple[Tensor, Tensor, Any]:
        """h (B, input_size, T), condition c, the last array's head -> h of the last layer, head, state."""
        h, contexts = pointwise(self.rechannel, h), []
        for layer, context in zip(self.layers, state["layers"], strict=True):
            h, heard, context = layer(h, c, context)
            head = heard if head is None else head + heard
            contexts.append(context)
        head, context = self.head(head, state["head"])
        return h, head, {"layers": contexts, "head": context}

    def rest(self, h: Tensor, c: Tensor, head: Tensor | None) -> tuple[Tensor, Tensor, Any]:
        """As `forward`, for constants held for ever."""
        h, contexts = pointwise(self.rechannel, h), []
        for layer in cast("list[Layer]", list(self.layers)):
            h, heard, context = layer.rest(h, c)
            head = heard if head is None else head + heard
            contexts.append(context)
        head, context = self.head.rest(head)
        return h, head, {"layers": contexts, "head": context}
