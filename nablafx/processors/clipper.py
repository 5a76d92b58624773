"""A soft clipper with two sides, whose operating point may move with the level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.dsp.filtering import envelope
from nablafx.dsp.units import db_to_amplitude, pole
from nablafx.kernels.clipping import clip
from nablafx.kernels.clipping.reference import curve
from nablafx.layers.held import Held
from nablafx.processors.base import Processor, Range, grid_of
from nablafx.processors.gain import SILENCE

_SHAPE = ("negative_limit", "positive_knee", "negative_knee")


_DRIVES = 41


class AsymmetricClipper(Processor):
    """Clips between 1 and -negative_limit, with a knee and a bias on each side that the level may shift.

        z = 10^(drive_db / 20) x,   e = envelope(|z| / (1 + |z|); attack, release),   y = f(z + bias - shift e)

    with f of :mod:`nablafx.kernels.clipping.reference`: two hyperbolas, 0.02 being a hard corner and 1 a round one, and
    both relative to their limit. `shift` is what a coupling capacitor that charges does to the operating point. What a
    bias leaves as a constant is for a high-pass behind it.

    With `antialias` the mean of f between neighbouring samples takes the place of f: at low level y is x half a sample
    late, -3 dB at a quarter of the sample rate, which an equaliser behind it makes good.

    State: `before` (B, 1), the last argument of f; `envelope` (B, 1) float64, or () where `shift` is 0.
    """

    def __init__(
        self,
        sample_rate: int = 48_000,
        drive_db: Range = (-20.0, 60.0),
        bias: Range = (-1.5, 1.5),
        negative_limit: Range = (0.1, 10.0, "log"),
        positive_knee: Range = (0.02, 2.0, "log"),
        negative_knee: Range = (0.02, 2.0, "log"),
        shift: Range = (-1.5, 1.5),
        attack_ms: Range = (0.5, 100.0, "log"),
        release_ms: Range = (5.0, 1000.0, "log"),
        antialias: bool = True,
    ) -> None:
        super().__init__(
            sample_rate,
            drive_db=drive_db,
            bias=bias,
            negative_limit=negative_limit,
            positive_knee=positive_knee,
            negative_knee=negative_knee,
            shift=shift,
            attack_ms=attack_ms,
            release_ms=release_ms,
        )
        self.antialias = antialias
        self._moves = self.fixed.get("shift") != 0

    def process(self, x: Tensor, state: Any, **params: Held) -> tuple[Tensor, Any]:
        grid, level = grid_of(params), state["envelope"]
        z = params["drive_db"].map(db_to_amplitude).scale(x)
        if self._moves:
            times = (params[name].values.squeeze(1) for name in ("attack_ms", "release_ms"))
            attack, release = (pole(time, self.sample_rate) for time in times)
            e, level = envelope(_rectified(z), attack, release, level, grid.block_size, grid.offset)
            z = z - params["shift"].scale(e)
        z = params["bias"].shift(z)
        settings = _settings(params)
        if self.antialias:
            y = clip(z, state["before"].expand(len(z), -1), settings, grid.block_size or x.shape[-1], grid.offset)
        else:
            held = grid._replace(values=settings.transpose(1, 2)).at_samples(x.shape[-1])
            y = curve(z.squeeze(1).unsqueeze(-1), held.transpose(1, 2).to(z.dtype)).squeeze(-1).unsqueeze(1)
        return y, {"before": z[..., -1], "envelope": level}

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, Any]:
        y, z, e = self._constant(x, {name: held.values for name, held in params.items()})
        level = e.squeeze(-1).double() if self._moves else ()
        return y.to(x.dtype), {"before": z.squeeze(-1).to(x.dtype), "envelope": level}

    def curve(self, levels: Tensor, **params: Tensor) -> Tensor:
        return self._constant(levels.view(1, 1, -1), {name: values.unsqueeze(-1) for name, values in params.items()})[0]

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """The drive that makes of x what is as flat as y, by mean magnitude over effective value; all else as it is."""
        if min(float(track.square().mean().sqrt()) for track in (x, y)) < SILENCE or "drive_db" not in self.ranges:
            return {}
        wanted, span = _flatness(y), self.ranges["drive_db"]
        drives = torch.linspace(span.low, span.high, _DRIVES).tolist()
        tried = [abs(_flatness(torch.tanh(10 ** (drive / 20) * x)) - wanted) for drive in drives]
        return {"drive_db": drives[tried.index(min(tried))]}

    def _constant(self, x: Tensor, params: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What x becomes, f's argument and the envelope, where x is held for ever."""
        driven = db_to_amplitude(params["drive_db"]) * x
        e = _rectified(driven)
        z = driven - params["shift"] * e + params["bias"]
        settings = torch.cat(torch.broadcast_tensors(*(params[name] for name in _SHAPE)), dim=-1)
        return curve(z, settings), z, e


def _flatness(x: Tensor) -> float:
    return float(x.abs().mean() / x.square().mean().sqrt())


def _rectified(z: Tensor) -> Tensor:
    return z.abs() / (1 + z.abs())


def _settings(params: dict[str, Held]) -> Tensor:
    """(B or 1, N, 3)."""
    return torch.stack(torch.broadcast_tensors(*(params[name].values.squeeze(1) for name in _SHAPE)), dim=-1)
