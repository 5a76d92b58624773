"""NAM's WaveNet: what most .nam files hold."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from nablafx.export.nam.activations import make_activation
from nablafx.export.nam.base import LONGEST, WIDEST, Net, Scale, architecture, make_net
from nablafx.export.nam.fields import Fields
from nablafx.export.nam.layers import LayerArray, make_conv
from nablafx.layers.causal_conv import CausalConv1d


@architecture
class NamWaveNet(Net):
    """Arrays of layers, all steered by the input or by what the network `condition` makes of it.

    y = gain · head of the last array, or what convolutions with activations before them make of that.
    """

    architecture = "WaveNet"

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        fields = Fields(config, "config")
        self.condition = make_net(fields.object("condition_dsp")) if "condition_dsp" in fields else None
        layers = fields.objects("layers")
        self.arrays = nn.ModuleList(LayerArray(array) for array in layers)
        heads = [array.head for array in self._arrays]
        self.post = nn.ModuleList(_post_stack(fields, heads[-1].out_channels))
        self.scale = Scale()
        self.outputs = (self._post[-1].conv if len(self.post) else heads[-1]).out_channels
        _check_widths(layers, self._arrays, self.condition.outputs if self.condition else 1)

    @property
    def _arrays(self) -> list[LayerArray]:
        return cast("list[LayerArray]", list(self.arrays))

    @property
    def _post(self) -> list[PostBlock]:
        return cast("list[PostBlock]", list(self.post))

    @property
    def receptive_field(self) -> int | None:
        reach = self.condition.receptive_field if self.condition else 1
        parts = [module for part in (self.arrays, self.post) for module in part.modules()]
        return None if reach is None else reach + sum(m.context_length for m in parts if isinstance(m, CausalConv1d))

    def slots(self) -> dict[str, torch.Size]:
        # the condition is a model within the model, and brings its own
        return {name: shape for name, shape in super().slots().items() if not name.startswith("condition.")}

    def process(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        c, condition = self.condition.process(x, None, state["condition"]) if self.condition else (x, ())
        h, head, arrays, post = x, None, [], []
        for array, before in zip(self._arrays, state["arrays"], strict=True):
            h, head, after = array(h, c, head, before)
            arrays.append(after)
        y = self.scale(head)
        for block, context in zip(self._post, state["post"], strict=True):
            y, context = block.conv(block.activation(y), context)
            post.append(context)
        return y, {"condition": condition, "arrays": arrays, "post": post}

    def settle(self, x: Tensor) -> tuple[Tensor, Any]:
        c, condition = self.condition.settle(x) if self.condition else (x, ())
        h, head, arrays, post = x, None, [], []
        for array in self._arrays:
            h, head, state = array.rest(h, c, head)
            arrays.append(state)
        y = self.scale(head)
        for block in self._post:
            y, context = block.conv.rest(block.activation(y))
            post.append(context)
        return y, {"condition": condition, "arrays": arrays, "post": post}


class PostBlock(nn.Module):
    """Activation, then convolution."""

    def __init__(self, activation: nn.Module, conv: CausalConv1d) -> None:
        super().__init__()
        self.activation = activation
        self.conv = conv


def _post_stack(fields: Fields, inputs: int) -> Iterator[PostBlock]:
    if "head" not in fields:
        return
    head = fields.object("head")
    kernels = head.integers("kernel_sizes", 1, LONGEST)
    inner, outputs = head.integer("channels", 1, WIDEST), head.integer("out_channels", 1, WIDEST)
    for kernel, channels in zip(kernels, pairwise([inputs, *[inner] * (len(kernels) - 1), outputs]), strict=True):
        activation = make_activation(head.content.get("activation"), head.place("activation"), channels[0])
        yield PostBlock(activation, make_conv(head, channels, kernel))


def _check_widths(layers: list[Fields], arrays: list[LayerArray], condition: int) -> None:
    """Each array hears the condition, and the array before it: its last layer, and its head."""
    channels, head = 1, arrays[0].head.in_channels
    for fields, array in zip(layers, arrays, strict=True):
        heard = fields.integer("condition_size", 1, WIDEST)
        found, needed = (heard, array.inputs, array.head.in_channels), (condition, channels, head)
        if found != needed:
            raise ValueError(
                f"{fields.place('condition_size')}, input_size and the width of the head are {found}, and must be "
                f"{needed}, those of what the array hears"
            )
        channels, head = array.rechannel.out_channels, array.head.out_channels
