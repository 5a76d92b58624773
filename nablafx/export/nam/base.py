"""What every network of a .nam file is, and which there are."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nablafx.effects import Effect
from nablafx.export.nam.fields import Fields

WIDEST = 4096
"""Channels."""
LONGEST = 2**24
"""Samples that a convolution may reach back."""


class Net(Effect):
    """A network as a file describes it, without its weights until `fill`.

    Classes have a prefix: configs call effects by short names, and LSTM is one of ours.

    A model has one output. A network that is the condition of another may have more: `process` and `settle` are called
    in its place then.

    Attributes:
        outputs: channels of what it returns.
        architecture: its name in files.
    """

    architecture: ClassVar[str] = ""
    outputs: int

    def __init__(self, config: dict[str, Any]) -> None:
        """
        Args:
            config: what a .nam file has under that key.

        Raises:
            ValueError: it describes no network.
        """
        super().__init__()
        fields = Fields(config, "config")
        fields.integer("in_channels", 1, 1, 1)
        self.outputs = fields.integer("out_channels", 1, WIDEST, 1)

    def slots(self) -> dict[str, torch.Size]:
        """The shapes of its weights by names, in the order of a file."""
        return {name: parameter.shape for name, parameter in self.named_parameters()}

    def named(self, slots: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a file by the names of parameters and buffers."""
        return slots

    def fill(self, weights: Tensor) -> None:
        """Take the weights (N,) of a file.

        Raises:
            ValueError: there are more or fewer than the network has.
        """
        slots = self.slots()
        sizes = [shape.numel() for shape in slots.values()]
        if sum(sizes) != len(weights):
            raise ValueError(f"it has {len(weights)} weights, and its {self.architecture} needs {sum(sizes)}")
        pieces = zip(slots.items(), weights.split(sizes), strict=True)
        # copies: each of them starts where memory is aligned
        named = self.named({name: piece.reshape(shape).clone() for (name, shape), piece in pieces})
        self.load_state_dict(named, strict=False, assign=True)

    def rest(self, x: Tensor, controls: Tensor | None) -> Any:
        return self.settle(x)[1]

    def settle(self, x: Tensor) -> tuple[Tensor, Any]:
        """Output (B, outputs, 1) and state after the constant input x (B, 1, 1) held for ever."""
        raise NotImplementedError


class Scale(nn.Module):
    """A gain; a module, so that its weight comes after those of modules made before."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


NETS: dict[str, type[Net]] = {}


def architecture(cls: type[Net]) -> type[Net]:
    """Make a class known by the name of its architecture."""
    NETS[cls.architecture] = cls
    return cls


def make_net(fields: Fields) -> Net:
    """The network that an object of `architecture` and `config` describes."""
    return NETS[fields.text("architecture", list(NETS))](fields.object("config").content)
