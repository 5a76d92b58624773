"""Knobs as people write them."""

from __future__ import annotations

import math

import torch

from nablafx.errors import UserError

MIDDLE = 0.5  # where a knob stands that nobody has set


def controls_of(given: str, names: tuple[str, ...]) -> torch.Tensor | None:
    """'D=0.3,T=1' -> (1, P) in [0, 1]; what is not said stands at 0.5. None for a device without knobs.

    Raises:
        UserError: an unknown knob, or a value that is none.
    """
    values = dict.fromkeys(names, MIDDLE)
    for part in filter(None, (part.strip() for part in given.split(","))):
        name, _, text = part.partition("=")
        if name not in values:
            raise UserError(
                f"there is no knob {name!r}; the model has {', '.join(names) or 'none'} (--controls D=0.5,T=1)"
            )
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = math.nan
        if not 0 <= values[name] <= 1:
            raise UserError(f"the knob {name} is {text!r}; it needs a number from 0 to 1")
    return torch.tensor([list(values.values())]) if names else None
