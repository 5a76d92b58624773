"""A learned impulse response."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nablafx.dsp.filtering import fir
from nablafx.dsp.response import fir_response
from nablafx.layers.siren import SirenTaps
from nablafx.processors.base import Processor


class StaticFIRFilter(Processor):
    """Convolution with taps that a network with sine activations makes: see :class:`nablafx.layers.siren.SirenTaps`.

    State: (B, 1, num_taps - 1), the samples before.
    """

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

    def process(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:  # type: ignore[override]
        return fir(x, self.siren(), state)

    def settle(self, x: Tensor) -> tuple[Tensor, Any]:  # type: ignore[override]
        taps = self.siren().to(x.dtype)
        return x * taps.sum(), x.expand(-1, -1, len(taps) - 1)

    def response(self, freqs_hz: Tensor) -> Tensor:  # type: ignore[override]
        return fir_response(self.siren(), freqs_hz, self.sample_rate).view(1, 1, -1)
