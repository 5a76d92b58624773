"""Fits of SIRENs to what is known beforehand, and how far from it they are where they were not trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from nablafx.errors import UserError
from nablafx.layers.siren import REACH, SIREN, SirenCurve, SirenTaps

STARTS = 16  # nets of few sines mostly end where they began: of 24 with hidden size 2, 5 came below an error of 0.01
BATCH = 256
DENSE = 512  # points of the polish
STRIDE = 10  # steps between two reports
SAMPLE_RATE = 48_000
SINE_HZ = 997  # prime to the rate: each sample of a second has a phase of its own, and a harmonic one bin for itself

Net = TypeVar("Net", SirenCurve, SirenTaps)
Tell = Callable[[int, int, float], None]
"""Hears the steps done, their total and the loss."""


class Goal(Protocol):
    """What a net shall draw."""

    def points(self, count: int, generator: torch.Generator) -> Tensor:
        """Coordinates (count, 1) in [-1, 1], float64."""

    def loss(self, siren: SIREN, points: Tensor) -> Tensor:
        """Scalar: how far the net is from it there."""


class Tanh:
    """tanh(reach t) and its slope: values alone would leave what lies between the points to chance."""

    def __init__(self, reach: float) -> None:
        self.reach = reach

    def points(self, count: int, generator: torch.Generator) -> Tensor:
        # one at random in each of equal cells, denser towards the ends, which are held for ever outside
        cells = torch.arange(count - 2, dtype=torch.float64)
        inner = (cells + torch.rand(count - 2, generator=generator, dtype=torch.float64)) / (count - 2)
        return torch.cat([-torch.cos(math.pi * inner), inner.new_tensor([-1.0, 1.0])]).unsqueeze(-1)

    def loss(self, siren: SIREN, points: Tensor) -> Tensor:
        y, slope = value_and_slope(siren, points)
        target = torch.tanh(self.reach * points)
        return (y - target).square().mean() + (slope / self.reach - (1.0 - target**2)).square().mean()


class Taps:
    """The values of taps (N,) at N coordinates."""

    def __init__(self, taps: Tensor) -> None:
        self.coordinates = torch.linspace(-1.0, 1.0, len(taps), dtype=torch.float64).unsqueeze(-1)
        self.taps = taps.double().unsqueeze(-1)

    def points(self, count: int, generator: torch.Generator) -> Tensor:
        return self.coordinates

    def loss(self, siren: SIREN, points: Tensor) -> Tensor:
        return (siren(points) - self.taps.to(points.dtype)).square().mean()


def value_and_slope(siren: SIREN, x: Tensor) -> tuple[Tensor, Tensor]:
    """y (..., 1) of a net of one input, and dy/dx; forward mode, at a third of the time of torch.func.jvp."""
    *hidden, output = siren.linear
    slope = torch.ones_like(x)
    for layer in hidden:
        phase = siren.w0 * layer(x)
        slope = siren.w0 * phase.cos() * (slope @ layer.weight.mT)
        x = phase.sin()
    return output(x), slope @ output.weight.mT


def fit_curve(
    hidden_size: int = 32,
    num_hidden: int = 3,
    w0: float = 30.0,
    reach: float = REACH,
    steps: int = 1000,
    seed: int = 0,
    tell: Tell | None = None,
) -> SirenCurve:
    """A curve fitted to tanh, with `steps` of Adam and as many of L-BFGS; the same seed gives the same weights.

    Raises:
        UserError: the weights ran away, with a huge w0.
    """
    return _fit(lambda: SirenCurve(hidden_size, num_hidden, w0, reach), Tanh(reach), steps, seed, tell)


def fit_taps(
    taps: Tensor,
    hidden_size: int = 32,
    num_hidden: int = 3,
    w0: float = 100.0,
    steps: int = 1000,
    seed: int = 0,
    tell: Tell | None = None,
) -> SirenTaps:
    """A net fitted to taps (N,) of a FIR filter at 48 kHz, whatever their level; as `fit_curve`."""
    level = taps.double().square().mean().sqrt()
    goal = Taps(taps.double() / level)
    make = partial(SirenTaps, len(taps), hidden_size, num_hidden, w0, sample_rate=SAMPLE_RATE)
    net = _fit(make, goal, steps, seed, tell)
    with torch.no_grad():
        for parameter in net.siren.linear[-1].parameters():
            parameter.mul_(level * math.sqrt(len(taps)))
    return net


def _fit(make: Callable[[], Net], goal: Goal, steps: int, seed: int, tell: Tell | None) -> Net:
    """The best of 16 nets after steps / 5 steps of Adam each, then `steps` of Adam and `steps` of L-BFGS.

    Raises:
        UserError: the weights ran away.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = [make() for _ in range(STARTS)]
    generator = torch.Generator().manual_seed(seed)
    trial = math.ceil(steps / 5)
    report = _Report(STARTS * trial + 2 * steps, tell)
    reached = [_adam(net.siren, goal, trial, generator, report) for net in nets]
    best = nets[int(np.argmin(reached))]
    siren = best.siren
    _adam(siren, goal, steps, generator, report)
    # float32 leaves L-BFGS without a direction long before the net has no better weights
    _lbfgs(siren.double(), goal, steps, generator, report)
    if not all(torch.isfinite(parameter).all() for parameter in siren.float().parameters()):
        raise UserError(f"the fit ran away: weights are no numbers any more. Give a w0 below {siren.w0:g}")
    return best


class _Report:
    def __init__(self, total: int, tell: Tell | None) -> None:
        self.done, self.total, self.tell = 0, total, tell

    def __call__(self, steps: int, loss: float) -> None:
        self.done += steps
        if self.tell is not None:
            self.tell(self.done, self.total, loss)


def _adam(net: SIREN, goal: Goal, steps: int, generator: torch.Generator, report: _Report) -> float:
    """Fresh points every step, the learning rate falling along a cosine; the mean loss of the last tenth."""
    hidden_size = net.linear[0].out_features
    optimizer = torch.optim.Adam(net.parameters(), lr=min(0.01, 0.032 / hidden_size))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for step in range(1, steps + 1):
        loss = goal.loss(net, goal.points(BATCH, generator).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        if step % STRIDE == 0 or step == steps:
            report((step - 1) % STRIDE + 1, loss.item())
    return torch.stack(losses[-math.ceil(steps / 10) :]).mean().item()


def _lbfgs(net: SIREN, goal: Goal, steps: int, generator: torch.Generator, report: _Report) -> None:
    """Full batch, on points drawn once: a line search needs a loss that stands still."""
    points = goal.points(DENSE, generator)
    # tolerances 0: it stops where float64 ends
    optimizer = torch.optim.LBFGS(
        net.parameters(),
        max_iter=STRIDE,
        history_size=50,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = goal.loss(net, points)
        loss.backward()
        return loss

    for start in range(0, steps, STRIDE):
        optimizer.param_groups[0]["max_iter"] = done = min(STRIDE, steps - start)
        report(done, optimizer.step(closure).item())


class Sine(NamedTuple):
    """A second of a 997 Hz sine at 48 kHz through tanh and through a curve, (48000,) each."""

    amplitude: float
    target: np.ndarray
    prediction: np.ndarray

    @property
    def residual_db(self) -> float:
        """Energy of what differs, relative to that of the target."""
        return level_db(self.prediction - self.target, self.target)


class CurveAccuracy(NamedTuple):
    """How a curve differs from tanh: on a grid far finer than the points it was fitted to, beyond, and for sines."""

    x: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    inside: float
    beyond: float
    sines: list[Sine]


class TapsAccuracy(NamedTuple):
    """Energy of the error of taps; its largest value in time and in frequency, relative to the target's. In dB."""

    energy_db: float
    tap_db: float
    response_db: float


def measure_curve(curve: SirenCurve) -> CurveAccuracy:
    """Against tanh, in the float32 in which it is used, at 200,001 points and for sines of amplitude 1 and reach."""
    x = np.linspace(-curve.reach, curve.reach, 200_001)
    y, target = _through(curve, x), np.tanh(x)
    sines = [_sine(curve, amplitude) for amplitude in (1.0, curve.reach)]
    beyond = max(abs(y[0] + 1.0), abs(y[-1] - 1.0))
    return CurveAccuracy(x, target, y, float(np.abs(y - target).max()), float(beyond), sines)


def measure_taps(target: np.ndarray, prediction: np.ndarray) -> TapsAccuracy:
    """Of two sets of taps (N,)."""
    error = prediction - target
    response_error, response = (np.abs(np.fft.rfft(taps, 8 * len(taps))) for taps in (error, target))
    return TapsAccuracy(
        energy_db=level_db(error, target),
        tap_db=_decibels(np.abs(error).max() ** 2, np.abs(target).max() ** 2),
        response_db=_decibels(response_error.max() ** 2, response.max() ** 2),
    )


def thd(y: np.ndarray) -> float:
    """Total harmonic distortion of the answer (48000,) to the 997 Hz sine: RMS of all harmonics to the fundamental's.

    What aliases counts where it falls.
    """
    power = np.abs(np.fft.rfft(y)) ** 2
    return math.sqrt((power[1:].sum() - power[SINE_HZ]) / power[SINE_HZ])


def level_db(part: np.ndarray, whole: np.ndarray) -> float:
    """Energy of a signal relative to that of another, in dB."""
    return _decibels(np.vdot(part, part), np.vdot(whole, whole))


def _decibels(part: float, whole: float) -> float:
    return 10.0 * math.log10(part / whole) if part > 0.0 else -math.inf


def _sine(curve: SirenCurve, amplitude: float) -> Sine:
    x = amplitude * np.sin(2.0 * np.pi * SINE_HZ * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    return Sine(amplitude, np.tanh(x), _through(curve, x))


def _through(curve: SirenCurve, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return curve(torch.from_numpy(x).float()).double().numpy()
