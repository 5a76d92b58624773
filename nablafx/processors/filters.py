"""Filters of the Audio EQ Cookbook (:mod:`nablafx.dsp.biquad`): single ones, and the base of those in series."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nablafx.dsp import biquad
from nablafx.dsp.response import sos_response
from nablafx.dsp.spectra import linear_response
from nablafx.dsp.units import amplitude_to_db
from nablafx.layers.held import Held
from nablafx.processors.base import Range, SosProcessor, flat

# of Adam at 0.1: some tenths of a second
_STEPS = 150
_FEWEST_BANDS = 12


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

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Least squares, up to a gain, of the response in dB to what :func:`linear_response` finds between x and y."""
        freqs_hz = torch.logspace(math.log10(30), math.log10(0.4 * self.sample_rate), 36, dtype=torch.float64)
        freqs_hz = freqs_hz.to(x.device)
        gain_db, is_there = linear_response(x, y, freqs_hz, self.sample_rate)
        if int(is_there.sum()) < _FEWEST_BANDS or not self.ranges:
            return {}
        params = self._fitted(freqs_hz[is_there], gain_db[is_there])
        return {name: params[name].item() for name in self.ranges}

    @torch.enable_grad()
    def _fitted(self, freqs_hz: Tensor, gain_db: Tensor) -> dict[str, Tensor]:
        logits = freqs_hz.new_zeros(1, self.num_parameters, 1).requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=0.1)
        for _ in range(_STEPS):
            params = flat(self.denormalise(Held(logits.sigmoid()), freqs_hz.device))
            told = sos_response(self.sections(**params), freqs_hz, self.sample_rate)[0, 0]
            error = amplitude_to_db(told) - gain_db
            # what the recordings leave open stays near the middle of its range
            loss = (error - error.mean()).square().mean() + 0.05 * logits.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return params


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
