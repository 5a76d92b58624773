"""Learned impulse responses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nablafx.dsp.filtering import fir
from nablafx.dsp.response import fir_response
from nablafx.dsp.spectra import least_squares_taps
from nablafx.layers.siren import SirenTaps
from nablafx.processors.base import Processor


class TapsProcessor(Processor):
    """Convolution with taps that a subclass has.

    State: (B, 1, num_taps - 1), the samples before.
    """

    def taps(self) -> Tensor:
        """(num_taps,), the first one meets the newest sample."""
        raise NotImplementedError

    def process(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:  # type: ignore[override]
        return fir(x, self.taps(), state)

    def settle(self, x: Tensor) -> tuple[Tensor, Any]:  # type: ignore[override]
        taps = self.taps().to(x.dtype)
        return x * taps.sum(), x.expand(-1, -1, len(taps) - 1)

    def response(self, freqs_hz: Tensor) -> Tensor:  # type: ignore[override]
        return fir_response(self.taps(), freqs_hz, self.sample_rate).view(1, 1, -1)


class StaticFIRFilter(TapsProcessor):
    """Taps that a network with sine activations makes: see :class:`nablafx.layers.siren.SirenTaps`."""

    # every tap hears every weight: at the rate of a gain the response is noise after some steps
    lr_multiplier = 0.01

    def __init__(
        self,
        sample_rate: int = 48_000,
        num_taps: int = 1024,
        hidden_size: int = 32,
        num_hidden: int = 3,
        w0: float = 100.0,
        pretrained: str | None = None,
    ) -> None:
        """pretrained: weights of a response to start from, such as weights/cabinet-fir.safetensors."""
        super().__init__(sample_rate)
        self.siren = SirenTaps(num_taps, hidden_size, num_hidden, w0, pretrained, sample_rate)

    def taps(self) -> Tensor:
        return self.siren()


class Cabinet(TapsProcessor):
    """Taps that are learned one by one, from the identity or, better, from the recordings (`guess`).

    For what sections cannot follow: the reflections of a loudspeaker in its cabinet, some ms long.
    """

    lr_multiplier = 0.01

    def __init__(self, sample_rate: int = 48_000, num_taps: int = 512) -> None:
        super().__init__(sample_rate)
        self.impulse = nn.Parameter(torch.zeros(num_taps))
        with torch.no_grad():
            self.impulse[0] = 1

    def taps(self) -> Tensor:
        return self.impulse

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """The taps that come nearest to y in the least-squares sense."""
        taps = least_squares_taps(x, y, len(self.impulse))
        if taps is None:
            return {}
        with torch.no_grad():
            self.impulse.copy_(taps)
        return {"taps": float(len(taps))}
