"""Dynamic range compression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.dsp.filtering import envelope
from nablafx.dsp.units import db_to_amplitude, pole
from nablafx.layers.held import Held
from nablafx.processors.base import Processor, Range, grid_of

# power of -120 dB: silence has a level, and the level a gradient
SILENCE = 1e-12


class Compressor(Processor):
    """Feed-forward compressor: a static curve in dB, smoothed by an exact attack and release.

        L = 20 log10 |x|,   R = (1 - 1/ratio) max(0, L - threshold) with a knee of `knee_db`,
        E = envelope(R; attack, release),   y = 10^((makeup - E) / 20) x

    Attack governs while the gain reduction grows, release while it shrinks. Source: Giannoulis, Massberg, Reiss,
    "Digital dynamic range compressor design", J. Audio Eng. Soc. 60 (6), 2012.

    State: (B, 1) float64, the gain reduction E in dB.
    """

    def __init__(
        self,
        sample_rate: int = 48_000,
        threshold_db: Range = (-60.0, 0.0),
        ratio: Range = (1.0, 20.0, "log"),
        knee_db: Range = (0.0, 24.0),
        attack_ms: Range = (0.1, 100.0, "log"),
        release_ms: Range = (10.0, 1000.0, "log"),
        makeup_db: Range = (-12.0, 36.0),
    ) -> None:
        super().__init__(
            sample_rate,
            threshold_db=threshold_db,
            ratio=ratio,
            knee_db=knee_db,
            attack_ms=attack_ms,
            release_ms=release_ms,
            makeup_db=makeup_db,
        )

    def process(self, x: Tensor, state: Any, **params: Held) -> tuple[Tensor, Any]:
        grid = grid_of(params)
        attack, release = (pole(params[key].values.squeeze(1), self.sample_rate) for key in ("attack_ms", "release_ms"))
        reduction, state = envelope(self._demand(x, params), attack, release, state, grid.block_size, grid.offset)
        return self._amplify(x, reduction, params), state

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, Any]:
        reduction = self._demand(x, params)
        return self._amplify(x, reduction, params), reduction.squeeze(-1).double()

    def curve(self, levels: Tensor, **params: Tensor) -> Tensor:
        static = {name: Held(values.unsqueeze(-1)) for name, values in params.items()}
        x = levels.double().view(1, 1, -1)
        return self._amplify(x, self._demand(x, static), static)

    def _demand(self, x: Tensor, params: dict[str, Held]) -> Tensor:
        """The gain reduction in dB that the curve asks for at every sample."""
        length = x.shape[-1]
        threshold, ratio, knee = (
            params[name].at_samples(length).to(x.dtype) for name in ("threshold_db", "ratio", "knee_db")
        )
        level = 10 * torch.log10(x.square() + SILENCE)
        over, knee = level - threshold, knee.clamp(min=1e-3)
        within = torch.clamp(over + knee / 2, torch.zeros_like(knee), knee)
        return (1 - 1 / ratio) * (within.square() / (2 * knee) + (over - knee / 2).clamp(min=0))

    def _amplify(self, x: Tensor, reduction: Tensor, params: dict[str, Held]) -> Tensor:
        gain_db = params["makeup_db"].at_samples(x.shape[-1]).to(x.dtype) - reduction
        return db_to_amplitude(gain_db) * x
