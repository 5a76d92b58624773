"""What every controller is: a map from the device's knobs and the audio to normalised parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nablafx.layers.held import Held

State = Any


class Controller(nn.Module):
    """Sets the parameters of one processor: `u, state = controller(x, controls, state)`, u in (0, 1).

    Attributes:
        num_controls: knobs that it listens to; 0: none.
        frame_size: cuts of a stream fall on multiples of it (1: anywhere).
        sidechain: it hears the input of the chain, and not that of its stage.
    """

    frame_size: int = 1
    sidechain: bool = False

    def __init__(self, num_parameters: int, num_controls: int = 0) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.num_controls = num_controls

    def forward(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Held, State]:
        """Audio x (B, 1, T) and controls (B, num_controls) -> u, values (B or 1, num_parameters, N), and state."""
        raise NotImplementedError

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, State]:
        """As `forward`, for a constant x (B, 1, 1) held for ever."""
        raise NotImplementedError

    def learn_settings(self, controls: Tensor | None) -> None:
        """Before training: what settings (B, num_controls) of the device there are recordings of."""

    def start_at(self, u: Tensor) -> bool:
        """Begin training at u (P,); NaN leaves one where it is. False: this controller cannot be set."""
        return False

    def parameter_options(self) -> dict[str, dict[str, float]]:
        """Optimizer options that parameters need, by the start of their names, as of an effect."""
        return {}

    def hear(self, x: Tensor, dry: Tensor) -> Tensor:
        """What `forward` gets of the inputs of its stage and of the chain, (B, 1, T) each."""
        return dry if self.sidechain else x

    def _needs_controls(self) -> None:
        if self.num_controls < 1:
            name = type(self).__name__
            raise ValueError(
                f"{name} is steered by the device's controls, and this data set has none: name them "
                f"(data: {{controls: [D, T]}}), or use {name.replace('Cond', '')}"
            )
