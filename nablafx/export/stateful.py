"""An effect as runtimes without Python want it: a function of tensors of fixed shape that they feed back.

    y, state = stateful(x, controls, state)

`state` is a flat dict of tensors, named by their places in the effect's state: "blocks.0.context". It holds what differs
from silence with the knobs where the export was made: a stream that starts with zeros, as any host can make them, has
heard that silence for ever.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nablafx.effects import Effect
from nablafx.effects.base import WHOLE
from nablafx.export.formats import ExportError
from nablafx.export.forms import Convolution, export_form

# samples heard so far: every layer that counts them counts the same
POSITION = "position"

FlatState = dict[str, Tensor]


class Stateful(nn.Module):
    """An effect in its form for exports; x is (1, 1, T) and controls (1, P), or None.

    Attributes:
        frame_size: calls take multiples of it, but for the last of a stream.
    """

    def __init__(self, effect: Effect, controls: Tensor | None, block_size: int | None = None) -> None:
        """
        Args:
            controls: (1, P), where the knobs stand in the silence that zeros stand for.
            block_size: samples of a call; None: any number.

        Raises:
            ExportError: the effect takes sequences as a whole, or the block size is no multiple of its frames.
        """
        super().__init__()
        if effect.frame_size == WHOLE:
            raise ExportError(
                f"{type(effect).__name__} with cold_start takes a sequence as a whole, and an export runs block after "
                "block; build the net with cold_start: false"
            )
        if block_size is not None and (block_size < 1 or block_size % effect.frame_size):
            raise ExportError(
                f"a block of {block_size} samples for a model that runs by frames of {effect.frame_size}: give a "
                "multiple of them"
            )
        self.frame_size = effect.frame_size
        self.effect = export_form(deepcopy(effect).cpu().eval().requires_grad_(False), block_size)
        self._settle(controls)

    def forward(self, x: Tensor, controls: Tensor | None, state: FlatState) -> tuple[Tensor, FlatState]:
        y, after = self.effect.process(x, controls, self._tree_of(state))
        return y, self._flat(after)

    @torch.no_grad()
    def silence(self, controls: Tensor | None) -> FlatState:
        """The state that silence for ever with the knobs (1, P) leaves: zeros for those of the export."""
        return {name: leaf.contiguous() for name, leaf in self._flat(self._resting(controls)).items()}

    def _resting(self, controls: Tensor | None) -> object:
        return self.effect.resting(torch.zeros(1, 1, 1), controls)

    @torch.no_grad()
    def _settle(self, controls: Tensor | None) -> None:
        """Count all states from those of silence."""
        found = _named(self._resting(controls))
        for name, layer in self.effect.named_modules():
            if isinstance(layer, Convolution):
                layer.settle(found[f"{name.removesuffix('conv')}context"][..., :1])
        rest = self._resting(controls)
        self._tree = pytree.tree_structure(rest)
        self._levels = {path: _shortened(leaf) if leaf.any() else None for path, leaf in _named(rest).items()}

    def _tree_of(self, state: FlatState) -> object:
        leaves = []
        for path, level in self._levels.items():
            leaf = state[_shared(path)]
            leaves.append(leaf if level is None else leaf + level)
        return pytree.tree_unflatten(leaves, self._tree)

    def _flat(self, tree: object) -> FlatState:
        flat = {}
        for path, leaf in _named(tree).items():
            level = self._levels[path]
            flat[_shared(path)] = leaf if level is None else leaf - level
        return flat


def _named(tree: object) -> dict[str, Tensor]:
    """The leaves of a state by their paths."""
    pairs, _ = pytree.tree_flatten_with_path(tree)
    return {".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path): leaf for path, leaf in pairs}


def _shared(path: str) -> str:
    """The name of a leaf outside: what all layers have in common has one."""
    return POSITION if path.split(".")[-1] == POSITION else path


def _shortened(leaf: Tensor) -> Tensor:
    """A leaf whose last dimension may be 1 where all that it holds are equal."""
    first = leaf[..., :1]
    return first.clone() if leaf.dim() > 2 and bool((leaf == first).all()) else leaf.clone()
