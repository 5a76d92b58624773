"""The figures of a model: measured, and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nablafx import plots
from nablafx.analysis import gain_trace, measure_distortion, measure_loop, measure_sweep
from nablafx.plots.stages import StageView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FigureName = Literal["comparison", "response", "distortion", "curve", "gain", "stages"]
FIGURES: tuple[FigureName, ...] = ("comparison", "response", "distortion", "curve", "gain", "stages")
Painter = Callable[[bool], "Figure"]
"""dark -> a new figure."""
STAGE_FREQS = torch.from_numpy(np.geomspace(20.0, 20_000.0, 240))
CURVE_POINTS = 201


class Subject(NamedTuple):
    """A model, and audio that it is shown with.

    Attributes:
        effect: on any device.
        render: x (B, 1, T), controls (B, P) or None -> y (B, 1, T), on the effect's device.
        sample_rate: Hz.
        x, y: dry and wet audio (1, 1, T); None where there is none.
        controls: (1, P), or None.
        title: said of it.
        prediction: of x, (1, 1, T), where it is known already.
        past: dry audio before x, (1, 1, N), N a multiple of every block size: what stages have in memory.
    """

    effect: Any
    render: Callable[[Tensor, Tensor | None], Tensor]
    sample_rate: int
    x: Tensor | None
    y: Tensor | None
    controls: Tensor | None
    title: str
    prediction: Tensor | None = None
    past: Tensor | None = None

    def predicted(self) -> Tensor:
        """What the effect makes of x, after its past, (1, 1, T) on the CPU."""
        assert self.x is not None
        if self.prediction is not None:
            return self.prediction
        return self.run(self.whole())[..., -self.x.shape[-1] :]

    def whole(self) -> Tensor:
        """x with its past."""
        assert self.x is not None
        return self.x if self.past is None else torch.cat([self.past, self.x], dim=-1)

    def run(self, x: Tensor) -> Tensor:
        """x (B, 1, T) through the effect, at these controls."""
        device = next(self.effect.parameters(), torch.zeros(())).device
        controls = None if self.controls is None else self.controls.to(device).expand(len(x), -1)
        return self.render(x.to(device), controls).cpu()


def draw(name: str, subject: Subject, dark: bool = False) -> Figure | None:
    """A figure by its name; None where the model has nothing to show in it, or there is no audio for it."""
    paint = measured(name, subject)
    return None if paint is None else paint(dark)


def measured(name: str, subject: Subject) -> Painter | None:
    """What draws a figure, light or dark, from what was measured once; None as in `draw`."""
    return _MEASURES[name](subject)


def _comparison(subject: Subject) -> Painter | None:
    if subject.x is None or subject.y is None:
        return None
    x, y, prediction = subject.x[0], subject.y[0], subject.predicted()[0]
    return lambda dark: plots.plot_comparison(y, prediction, subject.sample_rate, x, subject.title, dark)


def _response(subject: Subject) -> Painter:
    found = measure_sweep(subject.run, subject.sample_rate)
    title = f"Frequency response, by sweeps · {subject.title}"
    return lambda dark: plots.plot_response(found.freqs_hz, found.levels_db, found.response, title, dark)


def _distortion(subject: Subject) -> Painter:
    found = measure_distortion(subject.run, subject.sample_rate)
    parts = {"odd harmonics": found.odd, "even harmonics": found.even, "inharmonic (aliasing)": found.inharmonic}
    ratio = 10 * np.log10(max(found.aliasing_to_signal, 1e-15))
    title = f"Distortion, aliasing to signal {ratio:.0f} dB · {subject.title}"
    return lambda dark: plots.plot_distortion(found.freqs_hz, parts, found.level_db, title, dark)


def _curve(subject: Subject) -> Painter:
    found = measure_loop(subject.run, subject.sample_rate)
    title = f"Transfer curve · {subject.title}"
    return lambda dark: plots.plot_loop(found.x, found.y, found.frequency_hz, title, dark)


def _gain(subject: Subject) -> Painter | None:
    if subject.x is None:
        return None
    dry = subject.x[0, 0].cpu().numpy()
    wets = {"target": subject.y, "prediction": subject.predicted()}
    traces = {
        name: gain_trace(dry, wet[0, 0].cpu().numpy(), subject.sample_rate)
        for name, wet in wets.items()
        if wet is not None
    }
    times = next(iter(traces.values())).times
    gains = {name: trace.gain_db for name, trace in traces.items()}
    title = f"Gain over time · {subject.title}"
    return lambda dark: plots.plot_gain_trace(times, gains, dry, subject.sample_rate, title, dark)


def _stages(subject: Subject) -> Painter | None:
    views = list(stage_views(subject))
    title = f"Stages · {subject.title}"
    return (lambda dark: plots.plot_stages(views, subject.sample_rate, title, dark)) if views else None


_MEASURES: dict[str, Callable[[Subject], Painter | None]] = {
    "comparison": _comparison,
    "response": _response,
    "distortion": _distortion,
    "curve": _curve,
    "gain": _gain,
    "stages": _stages,
}


@torch.no_grad()
def stage_views(subject: Subject) -> Iterator[StageView]:
    """What is to be seen of each stage of the effect, with the subject's audio, or a second of silence."""
    device = next(subject.effect.parameters(), torch.zeros(())).device
    if subject.x is None:
        subject = subject._replace(x=torch.zeros(1, 1, subject.sample_rate))
    assert subject.x is not None
    start = 0 if subject.past is None else subject.past.shape[-1]
    controls = None if subject.controls is None else subject.controls.to(device)
    before = subject.x
    for tap in subject.effect.taps(subject.whole().to(device), controls):
        response = tap.response(STAGE_FREQS.to(device))
        reach = max(float(before.abs().max()), 1.0)
        levels = torch.linspace(-reach, reach, CURVE_POINTS, device=device)
        curve = None if response is not None else tap.curve(levels)
        before = tap.audio[..., start:]
        size = next((value.block_size for value in tap.params.values() if value.block_size is not None), None)
        # what does not move has one value, for all blocks
        passed = start // size if size else 0
        held = {name: v.values[0, 0, passed if v.values.shape[-1] > 1 else 0 :] for name, v in tap.params.items()}
        rows = None if response is None else response[0, passed if response.shape[1] > 1 else 0 :]
        yield StageView(
            name=tap.name,
            kind=tap.kind,
            audio=before[0, 0].cpu().numpy(),
            params={name: values.cpu().numpy() for name, values in held.items()},
            block_size=size,
            freqs_hz=STAGE_FREQS.numpy(),
            response=None if rows is None else rows.cpu().numpy(),
            levels=levels.cpu().numpy(),
            # of a curve that moves, the one in the middle of the audio
            curve=None if curve is None else curve[0, curve.shape[1] // 2].cpu().numpy(),
        )
