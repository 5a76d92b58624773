"""Processors that scale, shift, invert and mix."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nablafx.dsp.units import db_to_amplitude
from nablafx.layers.held import Held
from nablafx.processors.base import Processor, Range

SILENCE = 1e-5
"""An effective value, -100 dB, that tells nothing of a device."""


class Gain(Processor):
    """y = 10^(gain_db / 20) x."""

    def __init__(self, sample_rate: int = 48_000, gain_db: Range = (-32.0, 32.0)) -> None:
        super().__init__(sample_rate, gain_db=gain_db)

    def process(self, x: Tensor, state: Any, *, gain_db: Held) -> tuple[Tensor, Any]:  # type: ignore[override]
        return gain_db.map(db_to_amplitude).scale(x), state

    def response(self, freqs_hz: Tensor, *, gain_db: Tensor) -> Tensor:  # type: ignore[override]
        return flat_response(db_to_amplitude(gain_db), freqs_hz)

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """The ratio of levels."""
        levels = [float(track.double().square().mean().sqrt()) for track in (x, y)]
        return {} if min(levels) < SILENCE else {"gain_db": 20 * math.log10(levels[1] / levels[0])}

    def curve(self, levels: Tensor, *, gain_db: Tensor) -> Tensor:  # type: ignore[override]
        return db_to_amplitude(gain_db).unsqueeze(-1) * levels


class DCOffset(Processor):
    """y = x + offset."""

    def __init__(self, sample_rate: int = 48_000, offset: Range = (-2.0, 2.0)) -> None:
        super().__init__(sample_rate, offset=offset)

    def process(self, x: Tensor, state: Any, *, offset: Held) -> tuple[Tensor, Any]:  # type: ignore[override]
        return offset.shift(x), state

    def curve(self, levels: Tensor, *, offset: Tensor) -> Tensor:  # type: ignore[override]
        return levels + offset.unsqueeze(-1)


class PhaseInversion(Processor):
    """y = -x."""

    def __init__(self, sample_rate: int = 48_000) -> None:
        super().__init__(sample_rate)

    def process(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:  # type: ignore[override]
        return -x, state

    def response(self, freqs_hz: Tensor) -> Tensor:  # type: ignore[override]
        return flat_response(-torch.ones(1, 1, dtype=torch.float64, device=freqs_hz.device), freqs_hz)

    def curve(self, levels: Tensor) -> Tensor:  # type: ignore[override]
        return -levels.view(1, 1, -1)


class Polarity(Processor):
    """y = sign x; the sign, 1 until data tell another (`guess`), is kept with the weights and not learned."""

    sign: Tensor

    def __init__(self, sample_rate: int = 48_000) -> None:
        super().__init__(sample_rate)
        self.register_buffer("sign", torch.ones(()))

    def process(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:  # type: ignore[override]
        return self.sign.to(x.dtype) * x, state

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """The sign of the largest correlation within a millisecond."""
        size = 2 * x.shape[-1]
        spectra = [torch.fft.rfft(track.float(), size) for track in (x, y)]
        correlation = torch.fft.irfft((spectra[0].conj() * spectra[1]).sum((0, 1)), size)
        reach = min(int(0.001 * self.sample_rate), x.shape[-1] - 1)
        near = torch.cat([correlation[: reach + 1], correlation[size - reach :]])
        best = near[near.abs().argmax()]
        if best == 0:
            return {}
        self.sign.copy_(best.sign())
        return {"sign": float(self.sign)}

    def response(self, freqs_hz: Tensor) -> Tensor:  # type: ignore[override]
        return flat_response(self.sign.double().view(1, 1), freqs_hz)

    def curve(self, levels: Tensor) -> Tensor:  # type: ignore[override]
        return self.sign.to(levels.dtype) * levels.view(1, 1, -1)


class Mix(Processor):
    """y = mix x + (1 - mix) dry, dry being the audio at the input of the chain: parallel processing.

    Its response is that of the path from x.
    """

    def __init__(self, sample_rate: int = 48_000, mix: Range = (0.0, 1.0)) -> None:
        super().__init__(sample_rate, mix=mix)

    def hear(self, x: Tensor, dry: Tensor | None) -> Tensor:
        batch = max(len(x), 0 if dry is None else len(dry))
        parts = (x, torch.zeros_like(x) if dry is None else dry)
        return torch.cat([part.expand(batch, -1, -1) for part in parts], dim=1)

    def process(self, x: Tensor, state: Any, *, mix: Held) -> tuple[Tensor, Any]:  # type: ignore[override]
        wet, dry = x.chunk(2, dim=1)
        return dry + mix.scale(wet - dry), state

    def response(self, freqs_hz: Tensor, *, mix: Tensor) -> Tensor:  # type: ignore[override]
        return flat_response(mix, freqs_hz)


def flat_response(gain: Tensor, freqs_hz: Tensor) -> Tensor:
    """A gain (B, N) at every frequency, (B, N, F) complex128."""
    return gain.to(torch.complex128).unsqueeze(-1).expand(-1, -1, len(freqs_hz))
