"""The contract that everything that runs on audio keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nablafx.layers.checks import check_audio

State = Any
# the frame of an effect that takes a sequence as a whole: no stream is as long
WHOLE = 2**62


class Effect(nn.Module):
    """A causal, learnable map from dry to wet audio.

    `y, state = effect(x, controls, state)`: cut x anywhere (on multiples of `frame_size`), and the pieces give what
    the whole gives, outputs and gradients, in training and evaluation. State None: it has heard silence for ever,
    with the controls as they are. The state is a tree of tensors whose first dimension is the batch.

    Subclasses write `rest` and `process`.

    Attributes:
        num_controls: controls that the effect listens to; 0: none, and it is called without.
        frame_size: cuts of a stream fall on multiples of it (1: anywhere).
        cold_start: state None is nothing at all, as published, and not what silence leaves. For old checkpoints.
    """

    num_controls: int = 0
    frame_size: int = 1
    cold_start: bool = False

    @property
    def receptive_field(self) -> int | None:
        """Samples of input that one sample of output depends on; None: unbounded."""
        return None

    def forward(self, x: Tensor, controls: Tensor | None = None, state: State = None) -> tuple[Tensor, State]:
        """Run the effect.

        Args:
            x: (B, 1, T) dry audio, T at least 1.
            controls: (B, num_controls) in [0, 1], or None where the effect takes none.
            state: what an earlier call returned, or None.

        Returns:
            y (B, 1, T) and the state after the last sample.

        Raises:
            ValueError: x or controls are of another shape.
        """
        self._check(x, controls)
        return self.process(x, controls, self.resting(x, controls) if state is None else state)

    def resting(self, x: Tensor, controls: Tensor | None) -> State:
        """The state that None stands for with the controls (B, num_controls), for as many items as x has."""
        # without controls, silence is the same for every item
        listeners = x if controls is not None else x[:1]
        resting = self.rest(torch.zeros_like(listeners[..., :1]), controls)
        if self.cold_start:
            resting = pytree.tree_map(torch.zeros_like, resting)
        return pytree.tree_map(lambda s: s.expand(x.shape[0], *s.shape[1:]), resting)

    def rest(self, x: Tensor, controls: Tensor | None) -> State:
        """The state after the constant input x (B, 1, 1) and controls held for ever."""
        raise NotImplementedError

    def process(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        """As `forward`, with checked input and a state that is there."""
        raise NotImplementedError

    def absorb(self, state: State) -> State:
        """Between optimizer steps: take up the statistics that the state gathered; returns the state without them."""
        return state

    def parameter_options(self) -> dict[str, dict[str, float]]:
        """Optimizer options (lr, lr_multiplier, weight_decay) that parameters need, by the start of their names."""
        return {}

    def initialise(self, x: Tensor, y: Tensor, controls: Tensor | None) -> str:
        """Take from recordings what needs no training, such as level and polarity; returns what, in a few words.

        Parameters are changed in place, without gradients. x, y: (B, 1, T) dry and wet audio; controls: (B, P) or None.
        """
        return ""

    def taps(self, x: Tensor, controls: Tensor | None = None, state: State = None) -> Iterator[Any]:
        """What comes out of each stage, for effects that are made of stages; a network has none."""
        return iter(())

    def remark(self) -> str:
        """What a user may want to know of how it runs, in a few words; empty: nothing."""
        return ""

    def _check(self, x: Tensor, controls: Tensor | None) -> None:
        check_audio(x, self)
        name = type(self).__name__
        given = None if controls is None else tuple(controls.shape)
        needed = (x.shape[0], self.num_controls) if self.num_controls else None
        if given == needed:
            return
        if needed is None:
            raise ValueError(
                f"{name}: got controls of shape {given}, but this effect takes none; call it without, or give it a "
                "conditioning (-c cfg/model/with/film.yaml)"
            )
        raise ValueError(f"{name}: controls must have shape (batch, num_controls) = {needed}, got {given}")


class UnheardControlsError(ValueError):
    """The device has controls, and nothing in the effect hears them.

    Attributes:
        cure: what to change about the effect.
    """

    def __init__(self, found: str, cure: str) -> None:
        super().__init__(f"{found}; {cure}, or choose one setting of the device (data: {{setting: NAME}})")
        self.cure = cure
