"""Dynamic range compression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.dsp.filtering import envelope, svfilt, svfilt_zi
from nablafx.dsp.units import db_to_amplitude, pole
from nablafx.layers.held import Held
from nablafx.processors.base import Processor, Range, grid_of
from nablafx.processors.first_order import first_order_highpass

# power of -120 dB: silence has a level, and the level a gradient
SILENCE = 1e-12


_WINDOW_S = 0.05
_QUIETEST_DB = -70.0
_FEWEST_WINDOWS = 20


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
        reduction, state = envelope(
            self._demand(x.square(), params), attack, release, state, grid.block_size, grid.offset
        )
        return self._amplify(x, reduction, params), state

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, Any]:
        reduction = self._demand(x.square(), params)
        return self._amplify(x, reduction, params), reduction.squeeze(-1).double()

    def curve(self, levels: Tensor, **params: Tensor) -> Tensor:
        static = {name: Held(values.unsqueeze(-1)) for name, values in params.items()}
        x = levels.double().view(1, 1, -1)
        return self._amplify(x, self._demand(x.square(), static), static)

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Threshold, ratio and make-up gain: least squares of the static curve to the gain in windows of 50 ms."""
        size = round(_WINDOW_S * self.sample_rate)
        count = x.shape[-1] // size
        rows = (track[..., : count * size].double().reshape(-1, max(size, 1)) for track in (x, y))
        level, heard = (10 * torch.log10(row.square().mean(-1) + SILENCE) for row in rows)
        loud = (level > _QUIETEST_DB) & (heard > _QUIETEST_DB)
        if int(loud.sum()) < _FEWEST_WINDOWS:
            return {}
        # a detector of peaks hears a sine 3 dB above its effective value
        level, gain = level[loud] + 3, (heard - level)[loud]
        fits = [(*_line((level - threshold).clamp(min=0), gain), float(threshold)) for threshold in range(-60, 0)]
        _, slope, makeup, threshold = min(fits)
        ratio = 1 / (1 - min(max(-slope, 0.0), 0.95))
        return {"threshold_db": threshold, "ratio": ratio, "makeup_db": makeup}

    def _demand(self, power: Tensor, params: dict[str, Held]) -> Tensor:
        """The gain reduction in dB that the curve asks for at every sample, of x² (B, 1, T) or its mean."""
        length = power.shape[-1]
        threshold, ratio, knee = (
            params[name].at_samples(length).to(power.dtype) for name in ("threshold_db", "ratio", "knee_db")
        )
        level = 10 * torch.log10(power + SILENCE)
        over, knee = level - threshold, knee.clamp(min=1e-3)
        within = torch.clamp(over + knee / 2, torch.zeros_like(knee), knee)
        return (1 - 1 / ratio) * (within.square() / (2 * knee) + (over - knee / 2).clamp(min=0))

    def _amplify(self, x: Tensor, reduction: Tensor, params: dict[str, Held]) -> Tensor:
        gain_db = params["makeup_db"].at_samples(x.shape[-1]).to(x.dtype) - reduction
        return db_to_amplitude(gain_db) * x


class SidechainCompressor(Compressor):
    """A Compressor whose detector hears a high-passed signal, and its mean power over `detector_ms`.

        v = highpass(x; sidechain_cutoff_hz),   P[n] = p P[n-1] + (1 - p) v²,   L = 10 log10 P

    with p of `detector_ms` and the high-pass of :class:`CouplingCapacitor`. The short end of `detector_ms` is a
    detector of peaks, the long one one of effective values. To a constant the side chain is deaf, and so is `curve`.

    State: {highpass (B, 1, 1, 2), power (B, 1), reduction (B, 1)}, float64.
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
        detector_ms: Range = (0.01, 50.0, "log"),
        sidechain_cutoff_hz: Range = (5.0, 500.0, "log"),
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__", "sample_rate")}
        Processor.__init__(self, sample_rate, **given)

    def process(self, x: Tensor, state: Any, **params: Held) -> tuple[Tensor, Any]:
        grid, after = grid_of(params), {}
        attack, release, mean = (
            pole(params[key].values.squeeze(1), self.sample_rate) for key in ("attack_ms", "release_ms", "detector_ms")
        )
        blocks = grid.block_size, grid.offset
        v, after["highpass"] = svfilt(x, self._highpass(params), state["highpass"], *blocks)
        power, after["power"] = envelope(v.square(), mean, mean, state["power"], *blocks)
        demand = self._demand(power, params)
        reduction, after["reduction"] = envelope(demand, attack, release, state["reduction"], *blocks)
        return self._amplify(x, reduction, params), after

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, Any]:
        _, highpass = svfilt_zi(x, self._highpass(params))
        demand = self._demand(torch.zeros_like(x), params)
        settled = demand.squeeze(-1).double()
        state = {"highpass": highpass, "power": torch.zeros_like(settled), "reduction": settled}
        return self._amplify(x, demand, params), state

    def curve(self, levels: Tensor, **params: Tensor) -> Tensor:
        return db_to_amplitude(params["makeup_db"]).unsqueeze(-1) * levels

    def _highpass(self, params: dict[str, Held]) -> Tensor:
        return first_order_highpass(params["sidechain_cutoff_hz"].values.squeeze(1), self.sample_rate)


def _line(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Squared error, slope and intercept of the line through points (L,) that fits best."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / centred.square().sum().clamp(min=1e-9))
    intercept = float(y.mean()) - slope * float(x.mean())
    return float((y - slope * x - intercept).square().sum()), slope, intercept
