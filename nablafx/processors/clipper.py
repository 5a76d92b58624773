"""A soft clipper with two sides, whose operating point may move with what it has clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nablafx.dsp.units import cutoff_pole, db_to_amplitude
from nablafx.kernels.clipping import clip, clip_fed
from nablafx.kernels.clipping.reference import clipped_off, curve
from nablafx.layers.held import Held
from nablafx.processors.base import Processor, Range, grid_of
from nablafx.processors.gain import SILENCE

_SHAPE = ("negative_limit", "positive_knee", "negative_knee")
_CHARGES = ("positive_charge_hz", "negative_charge_hz")
_DRIVES = 41
_ROUNDS, _PARTS = 9, 64
_NEARBY = 1e-4
# a charge that is felt, to begin with: where none is, nothing is learned of it
_BEGINNING = {"positive_charge_hz": 1000.0, "negative_charge_hz": 1000.0, "discharge_hz": 500.0, "charge_passed": 0.5}


class AsymmetricClipper(Processor):
    """Clips between 1 and -negative_limit, with a knee on each side, around an operating point that may move.

        z = 10^(drive_db / 20) x + bias
        v[n] = z[n] - feedback e[n-1] - c[n-1],   y[n] = f(v[n]) + charge_passed c[n-1]
        e[n] = p e[n-1] + (1 - p) y[n]
        c[n] = q c[n-1] + (1 - q₁) a(v[n]) - (1 - q₂) b(v[n])

    with f of :mod:`nablafx.kernels.clipping.reference`: two hyperbolas, 0.02 being a hard corner and 1 a round one, and
    both relative to their limit. What f takes away above is a, and what it adds below b: f(v) = v - a(v) + b(v). The
    poles p, q, q₁, q₂ are those of `feedback_cutoff_hz`, `discharge_hz`, `positive_charge_hz`, `negative_charge_hz`.

    `feedback` is that of a tube's cathode or of a transistor's emitter, whose capacitor keeps it to what is slow: an
    asymmetric signal shifts the operating point, and low frequencies are amplified less; a negative one does the
    opposite. c is the charge of a capacitor in front of what clips, which what is clipped off charges, and which
    discharges where nothing is: at a tube's grid it takes away from what comes next (`charge_passed` 0), in series with
    diodes it comes out again (1). Where feedback is 0, or both charges are, the clipper has nothing of it. What a bias
    leaves as a constant is for a high-pass behind it.

    With `antialias` the mean of f between neighbouring v takes the place of f: at low level y is x half a sample
    late, -3 dB at a quarter of the sample rate, which an equaliser behind it makes good.

    State: `before` (B, 1), the last v; float64, (B, 1): `fed`, the last e, where there is feedback, and `charge`, the
    last c, where there is a charge.
    """

    def __init__(
        self,
        sample_rate: int = 48_000,
        drive_db: Range = (-20.0, 60.0),
        bias: Range = (-1.5, 1.5),
        negative_limit: Range = (0.1, 10.0, "log"),
        positive_knee: Range = (0.02, 2.0, "log"),
        negative_knee: Range = (0.02, 2.0, "log"),
        feedback: Range = (-0.9, 4.0),
        feedback_cutoff_hz: Range = (3.0, 500.0, "log"),
        positive_charge_hz: Range = (1.0, 10_000.0, "log"),
        negative_charge_hz: Range = (1.0, 10_000.0, "log"),
        discharge_hz: Range = (3.0, 3000.0, "log"),
        charge_passed: Range = (0.0, 1.0),
        antialias: bool = True,
    ) -> None:
        """Raises ValueError where the feedback can be -1 or less: such a clipper may stay at either of its ends."""
        self._has_feedback = feedback != 0
        self._has_charge = (positive_charge_hz, negative_charge_hz) != (0, 0)
        fed = {"feedback": feedback, "feedback_cutoff_hz": feedback_cutoff_hz} if self._has_feedback else {}
        charges = {"positive_charge_hz": positive_charge_hz, "negative_charge_hz": negative_charge_hz}
        charged: dict[str, Range] = {name: given for name, given in charges.items() if given != 0}
        if charged:
            charged |= {"discharge_hz": discharge_hz, "charge_passed": charge_passed}
        super().__init__(
            sample_rate,
            drive_db=drive_db,
            bias=bias,
            negative_limit=negative_limit,
            positive_knee=positive_knee,
            negative_knee=negative_knee,
            **fed,
            **charged,
        )
        self.antialias = antialias
        least = self.ranges["feedback"].low if "feedback" in self.ranges else self.fixed.get("feedback", 0.0)
        if least <= -1:
            raise ValueError(f"AsymmetricClipper: feedback is {feedback!r}; it needs numbers above -1")

    def process(self, x: Tensor, state: Any, **params: Held) -> tuple[Tensor, Any]:
        grid = grid_of(params)
        z = params["bias"].shift(params["drive_db"].map(db_to_amplitude).scale(x))
        values = {name: held.values.squeeze(1) for name, held in params.items()}
        shape, block = [values[name] for name in _SHAPE], grid.block_size or x.shape[-1]
        if self._has_feedback or self._has_charge:
            start = torch.cat([state.get(name, torch.zeros_like(state["before"])) for name in _STATE], dim=1)
            settings = _stacked([*shape, *moving(values, self.sample_rate)])
            y, end = clip_fed(z, start.expand(len(z), -1), settings, block, grid.offset, self.antialias)
            return y, {name: end[:, n : n + 1] for n, name in enumerate(_STATE) if name in state}
        settings = _stacked(shape)
        if self.antialias:
            y = clip(z, state["before"].expand(len(z), -1), settings, block, grid.offset)
        else:
            held = grid._replace(values=settings.transpose(1, 2)).at_samples(x.shape[-1])
            y = curve(z.squeeze(1).unsqueeze(-1), held.transpose(1, 2).to(z.dtype)).squeeze(-1).unsqueeze(1)
        return y, {"before": z[..., -1]}

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, Any]:
        y, v, c = self._constant(x, {name: held.values for name, held in params.items()})
        before = v.squeeze(-1)
        if not (self._has_feedback or self._has_charge):
            return y.to(x.dtype), {"before": before.to(x.dtype)}
        state = {"before": before.double()}
        if self._has_feedback:
            state["fed"] = y.squeeze(-1).double()
        if self._has_charge:
            state["charge"] = c.squeeze(-1).double()
        return y.to(x.dtype), state

    def curve(self, levels: Tensor, **params: Tensor) -> Tensor:
        values = {name: value.unsqueeze(-1) for name, value in params.items()}
        return self._constant(levels.view(1, 1, -1), values)[0]

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """The drive that makes of x what is as flat as y, by mean magnitude over effective value; no feedback,
        and a charge that is felt.

        At least 0 dB: behind another clipper less would do, and a stage that does nothing learns slowly to do more.
        """
        if min(float(track.square().mean().sqrt()) for track in (x, y)) < SILENCE or "drive_db" not in self.ranges:
            return {}
        wanted, span = _flatness(y), self.ranges["drive_db"]
        drives = torch.linspace(min(max(span.low, 0.0), span.high), span.high, _DRIVES).tolist()
        tried = [abs(_flatness(torch.tanh(10 ** (drive / 20) * x)) - wanted) for drive in drives]
        values = {"drive_db": drives[tried.index(min(tried))], "feedback": 0.0, **_BEGINNING}
        return {name: value for name, value in values.items() if name in self.ranges}

    def _constant(self, x: Tensor, params: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What x becomes, f's argument, and the charge, where x is held for ever."""
        z = db_to_amplitude(params["drive_db"]) * x + params["bias"]
        shape = torch.broadcast_tensors(*(params[name] for name in _SHAPE))
        settings = torch.cat(shape, dim=-1)
        fed, _, rise, fall, keep, passed = moving(params, self.sample_rate)

        def charge(v: Tensor) -> Tensor:
            above, below = clipped_off(v, *shape)
            return (rise * above - fall * below) / (1 - keep)

        def whole(v: Tensor) -> Tensor:
            return v + fed * curve(v, settings) + (1 + fed * passed) * charge(v)

        v = _where(whole, z, 1 + fed.clamp(max=0)) if self._has_feedback or self._has_charge else z
        c = charge(v)
        return curve(v, settings) + passed * c, v, c


_STATE = ("before", "fed", "charge")


def moving(params: dict[str, Tensor], sample_rate: float) -> tuple[Tensor, ...]:
    """What moves the operating point: feedback, p, 1 - q₁, 1 - q₂, q and what is passed; 0 of what there is not."""
    none = torch.zeros_like(params["bias"])
    poles = {name: cutoff_pole(value, sample_rate) for name, value in params.items() if name.endswith("_hz")}
    rise, fall = (1 - poles[name] if name in poles else none for name in _CHARGES)
    fed, passed = params.get("feedback", none), params.get("charge_passed", none)
    return fed, poles.get("feedback_cutoff_hz", none), rise, fall, poles.get("discharge_hz", none), passed


def _where(whole: Callable[[Tensor], Tensor], z: Tensor, slope: Tensor) -> Tensor:
    """v with whole(v) = z, where `whole` rises by `slope` or more: of 64 parts of an interval the one, nine times.

    A step of Newton's method then gives the gradients of the implicit function theorem.
    """
    with torch.no_grad():
        reach = (whole(z) - z).abs() / slope
        low, wide = z - reach, 2 * reach
        steps = torch.arange(1, _PARTS, dtype=z.dtype, device=z.device).view(-1, *z.dim() * [1])
        for _ in range(_ROUNDS):
            wide = wide / _PARTS
            low = low + wide * (whole(low + steps * wide) < z).sum(0)
        v = low + wide / 2
        rise = (whole(v + _NEARBY) - whole(v - _NEARBY)) / (2 * _NEARBY)
    return v - (whole(v) - z) / rise


def _flatness(x: Tensor) -> float:
    return float(x.abs().mean() / x.square().mean().sqrt())


def _stacked(values: Iterable[Tensor]) -> Tensor:
    """Each (B or 1, N) -> (B or 1, N, how many)."""
    return torch.stack(torch.broadcast_tensors(*values), dim=-1)
