"""Filters of the Audio EQ Cookbook (:mod:`nablafx.dsp.biquad`): single ones, and the base of those in series."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nablafx.dsp import biquad
from nablafx.processors.base import Range, SosProcessor


class CookbookFilter(SosProcessor):
    """Bands in series, each of a kind, with the parameters <band>_gain_db (if it has one), <band>_cutoff_hz, <band>_q.

    The band of a single filter is called "", and its parameters have no prefix.
    """

    kinds: Tensor

    def __init__(self, sample_rate: float, bands: Mapping[str, biquad.Prototype], **ranges: Range) -> None:
        super().__init__(sample_rate, **ranges)
        self.bands = tuple(band and f"{band}_" for band in bands)
        self.register_buffer("kinds", biquad.table(tuple(bands.values())), persistent=False)

    def sections(self, **params: Tensor) -> Tensor:
        # fixed values are (1, 1) beside those that u sets
        params = dict(zip(params, torch.broadcast_tensors(*params.values()), strict=True))
        no_gain = torch.zeros_like(next(iter(params.values())))
        gain_db = torch.stack([params.get(f"{band}gain_db", no_gain) for band in self.bands], dim=-1)
        cutoff_hz, q = (torch.stack([params[band + key] for band in self.bands], dim=-1) for key in ("cutoff_hz", "q"))
        return biquad.design(self.kinds, gain_db, cutoff_hz, q, self.sample_rate)


class Lowpass(CookbookFilter):
    """12 dB per octave above the cut-off."""

    def __init__(self, sample_rate: int = 48_000, cutoff_hz: Range = (20.0, 20_000.0), q: Range = (0.1, 10.0)) -> None:
        super().__init__(sample_rate, {"": biquad.LOWPASS}, cutoff_hz=cutoff_hz, q=q)


class Highpass(CookbookFilter):
    """12 dB per octave below the cut-off."""

    def __init__(self, sample_rate: int = 48_000, cutoff_hz: Range = (20.0, 20_000.0), q: Range = (0.1, 10.0)) -> None:
        super().__init__(sample_rate, {"": biquad.HIGHPASS}, cutoff_hz=cutoff_hz, q=q)


class _GainFilter(CookbookFilter):
    prototype: biquad.Prototype

    def __init__(
        self,
        sample_rate: int = 48_000,
        gain_db: Range = (-12.0, 12.0),
        cutoff_hz: Range = (20.0, 20_000.0),
        q: Range = (0.1, 10.0),
    ) -> None:
        super().__init__(sample_rate, {"": self.prototype}, gain_db=gain_db, cutoff_hz=cutoff_hz, q=q)


class Peaking(_GainFilter):
    """A bell around its centre."""

    prototype = biquad.PEAKING


class Lowshelf(_GainFilter):
    """A gain below the cut-off."""

    prototype = biquad.LOWSHELF


class Highshelf(_GainFilter):
    """A gain above the cut-off."""

    prototype = biquad.HIGHSHELF
