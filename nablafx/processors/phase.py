"""A shift of the phase by one angle for all frequencies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx.dsp import hilbert
from nablafx.dsp.filtering import sosfilt, sosfilt_zi
from nablafx.dsp.response import sos_response
from nablafx.layers.held import Held
from nablafx.processors.base import Processor, Range, flat, grid_of

# sine of the angle below which the pair gives way to the identity
_KNEE = 0.1


class PhaseShift(Processor):
    """y = cos(φ) I + sin(φ) Q with I and Q the outputs of an all-pass pair, Q 90 degrees ahead of I.

    The angle is one for all frequencies against I, as no causal filter has it against x: the all-passes delay low
    frequencies by milliseconds. To be the identity at 0 degrees and the inversion at ±180 (both within -60 dB below
    20 kHz) the pair moves out of the band where sin φ nears 0: from 10 degrees on it is there from 28 Hz up, and under
    1 degree gone. See :mod:`nablafx.dsp.hilbert`.

    State: (B, 1, 2 K, 2) float64, of the sections of I, then of Q.
    """

    def __init__(self, sample_rate: int = 48_000, shift_deg: Range = (-180.0, 180.0)) -> None:
        super().__init__(sample_rate, shift_deg=shift_deg)
        in_phase, quadrature = hilbert.poles(sample_rate)
        self.register_buffer("in_phase", in_phase, persistent=False)
        self.register_buffer("quadrature", quadrature, persistent=False)

    def process(self, x: Tensor, state: Any, **params: Held) -> tuple[Tensor, Any]:
        grid = grid_of(params)
        runs = [
            sosfilt(x, sos, zi, grid.block_size, grid.offset)
            for sos, zi in zip(self.chains(**flat(params)), state.chunk(2, dim=2), strict=True)
        ]
        return self._sum(runs, params["shift_deg"])

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, Any]:
        return self._sum([sosfilt_zi(x, sos) for sos in self.chains(**flat(params))], params["shift_deg"])

    def response(self, freqs_hz: Tensor, *, shift_deg: Tensor) -> Tensor:  # type: ignore[override]
        in_phase, quadrature = (sos_response(sos, freqs_hz, self.sample_rate) for sos in self.chains(shift_deg))
        angle = torch.deg2rad(shift_deg).unsqueeze(-1)
        return angle.cos() * in_phase + angle.sin() * quadrature

    def chains(self, shift_deg: Tensor) -> list[Tensor]:
        """Sections (B, N, K, 6) of the two all-passes."""
        sine = torch.deg2rad(shift_deg).sin()
        # vanishes at 0 with all its derivatives; the clamp keeps their quotient finite
        scale = torch.exp(-((_KNEE / sine.abs().clamp(min=1e-3)) ** 2))
        return [hilbert.allpass_sections(poles, scale) for poles in (self.in_phase, self.quadrature)]  # type: ignore

    def _sum(self, runs: list[tuple[Tensor, Tensor]], shift_deg: Held) -> tuple[Tensor, Tensor]:
        (in_phase, first), (quadrature, second) = runs
        angle = shift_deg.map(torch.deg2rad)
        y = angle.map(torch.cos).scale(in_phase) + angle.map(torch.sin).scale(quadrature)
        return y, torch.cat([first, second], dim=2)
