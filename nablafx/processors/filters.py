"""Single filters: one section each, designed by the Audio EQ Cookbook (:mod:`nablafx.dsp.biquad`)."""

from __future__ import annotations

from torch import Tensor

from nablafx.dsp import biquad
from nablafx.processors.base import Range, SosProcessor


class Lowpass(SosProcessor):
    """12 dB per octave above the cut-off."""

    def __init__(self, sample_rate: int = 48_000, cutoff_hz: Range = (20.0, 20_000.0), q: Range = (0.1, 10.0)) -> None:
        super().__init__(sample_rate, cutoff_hz=cutoff_hz, q=q)

    def sections(self, *, cutoff_hz: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return biquad.lowpass(cutoff_hz, q, self.sample_rate).unsqueeze(-2)


class Highpass(SosProcessor):
    """12 dB per octave below the cut-off."""

    def __init__(self, sample_rate: int = 48_000, cutoff_hz: Range = (20.0, 20_000.0), q: Range = (0.1, 10.0)) -> None:
        super().__init__(sample_rate, cutoff_hz=cutoff_hz, q=q)

    def sections(self, *, cutoff_hz: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return biquad.highpass(cutoff_hz, q, self.sample_rate).unsqueeze(-2)


class _GainFilter(SosProcessor):
    """A filter with a gain of its own; `design` makes its section."""

    def __init__(
        self,
        sample_rate: int = 48_000,
        gain_db: Range = (-12.0, 12.0),
        cutoff_hz: Range = (20.0, 20_000.0),
        q: Range = (0.1, 10.0),
    ) -> None:
        super().__init__(sample_rate, gain_db=gain_db, cutoff_hz=cutoff_hz, q=q)

    def design(self, gain_db: Tensor, cutoff_hz: Tensor, q: Tensor) -> Tensor:
        """Values of any shape S -> section (*S, 6)."""
        raise NotImplementedError

    def sections(self, *, gain_db: Tensor, cutoff_hz: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return self.design(gain_db, cutoff_hz, q).unsqueeze(-2)


class Peaking(_GainFilter):
    """A bell around its centre."""

    def design(self, gain_db: Tensor, cutoff_hz: Tensor, q: Tensor) -> Tensor:
        return biquad.peaking(gain_db, cutoff_hz, q, self.sample_rate)


class Lowshelf(_GainFilter):
    """A gain below the cut-off."""

    def design(self, gain_db: Tensor, cutoff_hz: Tensor, q: Tensor) -> Tensor:
        return biquad.lowshelf(gain_db, cutoff_hz, q, self.sample_rate)


class Highshelf(_GainFilter):
    """A gain above the cut-off."""

    def design(self, gain_db: Tensor, cutoff_hz: Tensor, q: Tensor) -> Tensor:
        return biquad.highshelf(gain_db, cutoff_hz, q, self.sample_rate)
