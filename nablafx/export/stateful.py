"""An effect as runtimes without Python want it: a function of tensors of fixed shape that they feed back.

    y, state = stateful(x, controls, state)

`state` is a flat dict of tensors, named by their places in the effect's state: "blocks.0.context". They hold what
differs from silence with the knobs where they stood at the export: a stream that starts with zeros, which any host can
make, has heard that silence for ever.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nablafx.effects import Effect
from nablafx.effects.base import WHOLE
from nablafx.export import linear_forms  # noqa: F401  forms are known once they are imported
from nablafx.export.formats import ExportError
from nablafx.export.forms import Convolution, export_form

# samples heard so far: every layer that counts them counts the same
POSITION = "position"

FlatState = dict[str, Tensor]


class Stateful(nn.Module):
    """An effect in its form for exports; x is (1, 1, T) and controls (1, P), or None."""

    def __init__(self, effect: Effect, controls: Tensor | None, block_size: int | None = None) -> None:
        """
        Args:
            controls: (1, P), where the knobs stand in the silence that zeros stand for.
            block_size: samples of a call; None: any number.

        Raises:
            ExportError: the effect takes sequences as a whole, or the block size is no multiple of its frames.
        """
        super().__init__()
        name = type(effect).__name__
        if effect.frame_size == WHOLE:
            raise ExportError(
                f"{name} with cold_start takes a sequence as a whole, and an export runs block after block; build it "
                "with cold_start: false"
            )
        if block_size is not None and (block_size < 1 or block_size % effect.frame_size):
            raise ExportError(
                f"{name} runs by frames of {effect.frame_size} samples, and a block of {block_size} is no multiple of "
                "them; give one that is, or none for any"
            )
        self.effect: Any = export_form(deepcopy(effect).cpu().eval().requires_grad_(False), block_size)
        self._settle(controls)

    def forward(self, x: Tensor, controls: Tensor | None, state: FlatState) -> tuple[Tensor, FlatState]:
        leaves = [place.absolute(state) for place in self._places.values()]
        y, after = self.effect.process(x, controls, pytree.tree_unflatten(leaves, self._tree))
        return y, self._flat(after)

    @torch.no_grad()
    def silence(self, controls: Tensor | None) -> FlatState:
        """The state that silence for ever with the knobs (1, P) leaves: zeros for those of the export."""
        return {name: leaf.contiguous() for name, leaf in self._flat(self._resting(controls)).items()}

    @torch.no_grad()
    def _settle(self, controls: Tensor | None) -> None:
        """Count the state from what silence leaves."""
        self._resting(controls)
        for layer in self.effect.modules():
            if isinstance(layer, Convolution):
                layer.settle()
        rest = self._resting(controls)
        self._tree = pytree.tree_structure(rest)
        self._places = {path: _Place(path, leaf) for path, leaf in _named(rest).items()}

    def _resting(self, controls: Tensor | None) -> object:
        return self.effect.resting(torch.zeros(1, 1, 1), controls)

    def _flat(self, tree: object) -> FlatState:
        places = ((self._places[path], leaf) for path, leaf in _named(tree).items())
        return {place.name: place.relative(leaf) for place, leaf in places if place.outside}


class _Place:
    """A tensor of the state, and what silence leaves there.

    Attributes:
        name: outside; what all layers have in common has one.
        outside: whether it holds anything, and so has to be kept.
    """

    def __init__(self, path: str, rest: Tensor) -> None:
        self.name = POSITION if path.split(".")[-1] == POSITION else path
        self.outside = rest.numel() > 0
        self._rest = rest.clone(memory_format=torch.contiguous_format)
        # of a context one value a channel, which holds for all of its samples
        first = rest[..., :1].clone(memory_format=torch.contiguous_format)
        self._level = first if rest.dim() > 2 and bool((rest == first).all()) else self._rest
        self._is_zero = not rest.any()

    def absolute(self, state: FlatState) -> Tensor:
        if not self.outside:
            return self._rest
        return state[self.name] if self._is_zero else state[self.name] + self._level

    def relative(self, leaf: Tensor) -> Tensor:
        return leaf if self._is_zero else leaf - self._level


def _named(tree: object) -> dict[str, Tensor]:
    """The leaves of a state by their paths."""
    pairs, _ = pytree.tree_flatten_with_path(tree)
    steps = (([str(getattr(key, "key", getattr(key, "idx", key))) for key in path], leaf) for path, leaf in pairs)
    # a state that is one tensor has no path to it
    return {".".join(path) or "state": leaf for path, leaf in steps}
