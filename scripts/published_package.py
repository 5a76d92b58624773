"""Imports nablafx 1.0.0 from PyPI, the published framework, beside a current torch, in an environment of its own.

    python3.11 -m venv ENV
    ENV/bin/pip install torch lightning auraloss torchmetrics scipy einops natsort matplotlib soundfile
    ENV/bin/pip install --no-deps nablafx==1.0.0 rational-activations==0.2.0

What of it does not work there is stood in for, outside of it: torchaudio's lfilter, by scipy (it also clips; training
does not call it); the coefficients that rational-activations lacks, by those in the package; the argument `verbose` of
the plateau schedule, which torch has dropped; wandb, torchvision and the FAD, on which neither outputs nor steps
depend.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.signal
import torch
from torch.optim import lr_scheduler

clipped: list[bool] = []


def lfilter(waveform: torch.Tensor, a_coeffs: torch.Tensor, b_coeffs: torch.Tensor) -> torch.Tensor:
    """Of (B, T) by (B, 3) each."""
    rows = zip(b_coeffs.double().numpy(), a_coeffs.double().numpy(), waveform.double().numpy(), strict=True)
    y = torch.from_numpy(np.stack([scipy.signal.lfilter(b, a, x) for b, a, x in rows])).to(waveform)
    clipped.append(bool((y.abs() > 1).any()))
    return y.clamp(-1, 1)


class Plateau(lr_scheduler.ReduceLROnPlateau):
    """With the argument `verbose` that a current torch has no more."""

    def __init__(self, *args: Any, verbose: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def stand_in(name: str, **contents: Any) -> None:
    module = ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


stand_in("torchaudio")
stand_in("torchaudio.functional", lfilter=lfilter)
stand_in("torchvision")
stand_in("torchvision.transforms", ToTensor=object)
stand_in("frechet_audio_distance", FrechetAudioDistance=object)
stand_in("wandb", watch=lambda *args, **kwargs: None)
lr_scheduler.ReduceLROnPlateau = Plateau  # type: ignore[misc]
_rational = Path(importlib.import_module("rational").__file__ or "").parent
shutil.copy(Path(sys.prefix, "share/nablafx/weights/rationals_config.json"), _rational / "rationals_config.json")
