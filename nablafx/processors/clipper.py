"""A soft clipper with two sides, whose operating point may move with the level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.dsp.filtering import envelope
from nablafx.dsp.units import cutoff_pole, db_to_amplitude, pole
from nablafx.kernels.clipping import clip, clip_fed
from nablafx.kernels.clipping.reference import curve
from nablafx.layers.held import Held
from nablafx.processors.base import Processor, Range, grid_of
from nablafx.processors.gain import SILENCE

_SHAPE = ("negative_limit", "positive_knee", "negative_knee")
_DRIVES = 41
_HALVINGS = 50
_NEARBY = 1e-4


class AsymmetricClipper(Processor):
    """Clips between 1 and -negative_limit, with a knee on each side, around an operating point that may move.

        z = 10^(drive_db / 20) x,   r = envelope(|z| / (1 + |z|); attack, release)
        v[n] = z[n] + bias - shift r[n] - feedback e[n-1],   y = f(v),   e[n] = p e[n-1] + (1 - p) y[n]

    with f of :mod:`nablafx.kernels.clipping.reference`: two hyperbolas, 0.02 being a hard corner and 1 a round one, and
    both relative to their limit, and p of `feedback_cutoff_hz`. `shift` is what a coupling capacitor does that the
    level charges and that discharges slowly. `feedback` is that of a tube's cathode or of a transistor's emitter, whose
    capacitor keeps it to what is slow: an asymmetric signal shifts the operating point, and low frequencies are
    amplified less; a negative one does the opposite. Where one of them is 0, it has no times either. What a bias leaves
    as a constant is for a high-pass behind it.

    With `antialias` the mean of f between neighbouring v takes the place of f: at low level y is x half a sample
    late, -3 dB at a quarter of the sample rate, which an equaliser behind it makes good.

    State: `before` (B, 1), the last v; float64, (B, 1): `envelope`, the last r, where there is a shift, and `fed`, the
    last e, where there is feedback.
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
        feedback: Range = (-0.9, 4.0),
        feedback_cutoff_hz: Range = (3.0, 500.0, "log"),
        antialias: bool = True,
    ) -> None:
        """Raises ValueError where the feedback can be -1 or less: such a clipper may stay at either of its ends."""
        self._moves, self._is_fed = shift != 0, feedback != 0
        moves = {"shift": shift, "attack_ms": attack_ms, "release_ms": release_ms} if self._moves else {}
        fed = {"feedback": feedback, "feedback_cutoff_hz": feedback_cutoff_hz} if self._is_fed else {}
        super().__init__(
            sample_rate,
            drive_db=drive_db,
            bias=bias,
            negative_limit=negative_limit,
            positive_knee=positive_knee,
            negative_knee=negative_knee,
            **moves,
            **fed,
        )
        self.antialias = antialias
        least = self.ranges["feedback"].low if "feedback" in self.ranges else self.fixed.get("feedback", 0.0)
        if least <= -1:
            raise ValueError(f"AsymmetricClipper: feedback is {feedback!r}; it needs numbers above -1")

    def process(self, x: Tensor, state: Any, **params: Held) -> tuple[Tensor, Any]:
        grid, after = grid_of(params), {}
        z = params["drive_db"].map(db_to_amplitude).scale(x)
        if self._moves:
            times = (params[name].values.squeeze(1) for name in ("attack_ms", "release_ms"))
            attack, release = (pole(time, self.sample_rate) for time in times)
            r, after["envelope"] = envelope(
                _rectified(z), attack, release, state["envelope"], grid.block_size, grid.offset
            )
            z = z - params["shift"].scale(r)
        z = params["bias"].shift(z)
        settings, block = _settings(params, self._shape()), grid.block_size or x.shape[-1]
        if self._is_fed:
            start = torch.cat([state["before"], state["fed"]], dim=1).expand(len(z), -1)
            y, end = clip_fed(z, start, self._with_pole(settings), block, grid.offset, self.antialias)
            return y, {**after, "before": end[:, :1], "fed": end[:, 1:]}
        if self.antialias:
            y = clip(z, state["before"].expand(len(z), -1), settings, block, grid.offset)
        else:
            held = grid._replace(values=settings.transpose(1, 2)).at_samples(x.shape[-1])
            y = curve(z.squeeze(1).unsqueeze(-1), held.transpose(1, 2).to(z.dtype)).squeeze(-1).unsqueeze(1)
        return y, {**after, "before": z[..., -1]}

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, Any]:
        y, v, r = self._constant(x, {name: held.values for name, held in params.items()})
        before, state = v.squeeze(-1), {"envelope": r.squeeze(-1).double()} if self._moves else {}
        if self._is_fed:
            return y.to(x.dtype), {**state, "before": before.double(), "fed": y.squeeze(-1).double()}
        return y.to(x.dtype), {**state, "before": before.to(x.dtype)}

    def curve(self, levels: Tensor, **params: Tensor) -> Tensor:
        values = {name: value.unsqueeze(-1) for name, value in params.items()}
        return self._constant(levels.view(1, 1, -1), values)[0]

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """The drive that makes of x what is as flat as y, by mean magnitude over effective value; no feedback.

        At least 0 dB: behind another clipper less would do, and a stage that does nothing learns slowly to do more.
        """
        if min(float(track.square().mean().sqrt()) for track in (x, y)) < SILENCE or "drive_db" not in self.ranges:
            return {}
        wanted, span = _flatness(y), self.ranges["drive_db"]
        drives = torch.linspace(min(max(span.low, 0.0), span.high), span.high, _DRIVES).tolist()
        tried = [abs(_flatness(torch.tanh(10 ** (drive / 20) * x)) - wanted) for drive in drives]
        values = {"drive_db": drives[tried.index(min(tried))]}
        return {**values, "feedback": 0.0} if "feedback" in self.ranges else values

    def _constant(self, x: Tensor, params: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What x becomes, f's argument, and r, where x is held for ever."""
        driven = db_to_amplitude(params["drive_db"]) * x
        r = _rectified(driven)
        z = driven + params["bias"]
        if self._moves:
            z = z - params["shift"] * r
        settings = torch.cat(torch.broadcast_tensors(*(params[name] for name in _SHAPE)), dim=-1)
        v = _balanced(z, params["feedback"], settings) if self._is_fed else z
        return curve(v, settings), v, r

    def _shape(self) -> tuple[str, ...]:
        return (*_SHAPE, "feedback", "feedback_cutoff_hz") if self._is_fed else _SHAPE

    def _with_pole(self, settings: Tensor) -> Tensor:
        """With the pole of the cut-off in its place."""
        return torch.cat([settings[..., :4], cutoff_pole(settings[..., 4:], self.sample_rate)], dim=-1)


def _balanced(z: Tensor, fed: Tensor, settings: Tensor) -> Tensor:
    """v with v = z - fed f(v), where z (B, N, L) is held: by bisection, for v + fed f(v) rises with v.

    A step of Newton's method then gives the gradients of the implicit function theorem.
    """
    with torch.no_grad():
        limit, positive_knee, negative_knee = settings.split(1, dim=-1)
        # a knee lifts the far end: f lies between these
        most, least = 1 + limit * negative_knee / 2, -limit - positive_knee / 2
        ends = torch.broadcast_tensors(z - fed * most, z - fed * least)
        low, high = torch.minimum(*ends), torch.maximum(*ends)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = middle + fed * curve(middle, settings) > z
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        v = (low + high) / 2
        slope = (curve(v + _NEARBY, settings) - curve(v - _NEARBY, settings)) / (2 * _NEARBY)
    return v - (v + fed * curve(v, settings) - z) / (1 + fed * slope)


def _flatness(x: Tensor) -> float:
    return float(x.abs().mean() / x.square().mean().sqrt())


def _rectified(z: Tensor) -> Tensor:
    return z.abs() / (1 + z.abs())


def _settings(params: dict[str, Held], names: tuple[str, ...]) -> Tensor:
    """(B or 1, N, names)."""
    return torch.stack(torch.broadcast_tensors(*(params[name].values.squeeze(1) for name in names)), dim=-1)
