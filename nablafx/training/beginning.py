"""What an effect is given before its first optimizer step: what recordings tell without training."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from nablafx.effects import Effect
from nablafx.processes import copied_from_first, rank

HEARD_S = 60.0
"""Training audio that is listened to, at most."""


@torch.no_grad()
def initialise(effect: Effect, data: Any, device: torch.device) -> None:
    """Initialise an effect from the training audio of a data module; without one, it stays as it is.

    The first process does it, and the others take its weights.
    """
    training_audio = getattr(data, "training_audio", None)
    if training_audio is None:
        return
    remark = ""
    if rank() == 0:
        dtype = next((p.dtype for p in effect.parameters() if p.is_floating_point()), torch.float32)
        batch = training_audio(HEARD_S)
        controls = None if batch.controls is None else batch.controls.to(device, dtype)
        remark = effect.initialise(batch.x.to(device, dtype), batch.y.to(device, dtype), controls)
    copied_from_first(effect.state_dict().values())
    if remark:
        rank_zero_info(f"From the recordings, before training: {remark}")
