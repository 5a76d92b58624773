"""What every conditioning is: an encoder shared by the net, and a modulation per layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nablafx.layers.held import Held

State = Any


class Modulation(nn.Module):
    """What a conditioning does to the features of one layer: it says γ and β, and the layer applies them."""

    @property
    def listens(self) -> bool:
        """Whether it has to hear the features; if not, it may be asked with x None before there are any."""
        return False

    def forward(self, x: Tensor | None, cond: Held | None, state: State) -> tuple[Held | None, State]:
        """x (B, C, T) and what `Conditioning.encode` made -> γ and β, 2 C values, and state; None: x stays as it is."""
        raise NotImplementedError

    def rest(self, x: Tensor, cond: Held | None) -> tuple[Held | None, State]:
        """As `forward` for constant features x (B, C, 1) held for ever, and the state they leave."""
        raise NotImplementedError

    def absorb(self, state: State) -> State:
        """Take up the statistics that `state` gathered in training; returns the state without them."""
        return state


class Conditioning(nn.Module):
    """Steers a network by the device's controls, and, where it is time-varying, by the audio.

    Attributes:
        num_controls: knobs of the device, P.
        num_features: size of what `encode` makes for all layers; 0 where each layer makes its own.
        frame_size: cuts of a stream fall on multiples of it (1: anywhere).
        fill_zeros: a block that the end of a sequence cuts short is filled up with zeros, as published: an effect with
            cold_start sets it before it asks for modulations.
    """

    num_features: int = 0
    frame_size: int = 1
    fill_zeros: bool = False

    def __init__(self, num_controls: int) -> None:
        super().__init__()
        self.num_controls = num_controls

    def encode(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Held | None, State]:
        """Audio x (B, 1, T) and controls (B, P) -> what all layers share, state."""
        raise NotImplementedError

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held | None, State]:
        """As `encode`, for a constant x (B, 1, 1) held for ever."""
        raise NotImplementedError

    def modulation(self, num_features: int) -> Modulation:
        """A new modulation for a layer of `num_features` channels."""
        raise NotImplementedError

    def _needs_controls(self) -> None:
        if self.num_controls < 1:
            raise ValueError(
                f"{type(self).__name__} is steered by controls alone, and this data set has none: name them "
                "(data: {controls: [D, T]}), or choose a conditioning that also hears the audio (TFiLM, TVFiLM) or none"
            )


class Unconditioned(Conditioning):
    """No conditioning: features pass as they are."""

    def __init__(self, num_controls: int = 0) -> None:
        super().__init__(0)

    def encode(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Held | None, State]:
        return None, ()

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held | None, State]:
        return None, ()

    def modulation(self, num_features: int) -> Modulation:
        return Unmodulated()


class Unmodulated(Modulation):
    """Passes features as they are."""

    def forward(self, x: Tensor | None, cond: Held | None, state: State) -> tuple[Held | None, State]:
        return None, ()

    def rest(self, x: Tensor, cond: Held | None) -> tuple[Held | None, State]:
        return None, ()
