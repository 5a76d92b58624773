"""SIREN, a small net of sines: as a curve from sample to sample, and as the taps of a FIR filter."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from nablafx.kernels.siren import siren
from nablafx.layers.pretrained import Fact, load_pretrained

REACH = 6.0  # 1 - tanh(6) is 1.2e-5: what holding the end costs is then no more than what a fit misses within


class SIREN(nn.Module):
    """Fully connected net with sines between its layers.

        h_0 = x,   h_k = sin(w0 (W_k h_(k-1) + b_k)) for k = 1 … num_hidden,   y = W h + b

    x: (..., in_features) -> y: (..., out_features). No memory.
    The weights start as in the reference, uniform in ±1 / in_features in the first layer and in
    ±sqrt(6 / fan_in) / w0 in the others, so that they give each phase a variance of 1; biases start uniform in
    ±1 / sqrt(fan_in).
    Raises ValueError for sizes below 1 and for w0 that is no positive number.
    Reference: Sitzmann et al., "Implicit Neural Representations with Periodic Activation Functions", NeurIPS 2020,
    arXiv 2006.09661.
    """

    def __init__(
        self, in_features: int = 1, out_features: int = 1, hidden_size: int = 32, num_hidden: int = 3, w0: float = 30.0
    ) -> None:
        super().__init__()
        if min(in_features, out_features, hidden_size, num_hidden) < 1 or not 0 < w0 < math.inf:
            raise ValueError(
                f"SIREN: in_features {in_features}, out_features {out_features}, hidden_size {hidden_size}, num_hidden "
                f"{num_hidden}, w0 {w0}; the first four must be 1 or more, and w0 a positive number"
            )
        self.w0 = float(w0)
        sizes = [in_features, *[hidden_size] * num_hidden, out_features]
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))
        for number, layer in enumerate(self.linear):
            bound = math.sqrt(6.0 / layer.in_features) / self.w0 if number else 1.0 / in_features
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        *hidden, output = self.linear
        # w0 goes to the few weights: scaling the many phases would cost a pass over them and keep a copy
        weights = [*(self.w0 * layer.weight for layer in hidden), output.weight]
        return siren(x, weights, [*(self.w0 * layer.bias for layer in hidden), output.bias])

    @property
    def linear(self) -> list[nn.Linear]:
        """The layers, the last of which has no sine."""
        return list(self.layers)  # type: ignore[arg-type]

    @property
    def facts(self) -> dict[str, Fact]:
        """What two nets must share for the weights of one to mean the same in the other."""
        hidden = self.linear[:-1]
        return {"hidden_size": hidden[0].out_features, "num_hidden": len(hidden), "w0": self.w0}

    def load_pretrained(self, path: str | Path, **facts: Fact) -> None:
        """Take the weights of a file made by `nablafx pretrain`; `facts` must agree as well as those of the net.

        Raises:
            PretrainedError: see :func:`nablafx.layers.pretrained.load_pretrained`.
        """
        load_pretrained(self, path, {**facts, **self.facts})

    def extra_repr(self) -> str:
        return f"w0={self.w0:g}"


class SirenCurve(nn.Module):
    """Memoryless map drawn by a SIREN.

        y = siren(clamp(x / reach, -1, 1))

    x: (...) -> y: (...). What lies outside [-reach, reach] gets the value of the nearer end: sines would ring there,
    and behind a gain of +32 dB full scale is 40. Without `pretrained` it starts as noise.
    pretrained: a file of `nablafx pretrain tanh`, looked for as given and then below the top of the checkout.
    Raises ValueError for sizes or a reach that are not positive, PretrainedError for a file that does not fit.
    """

    kind = "tanh"

    def __init__(
        self,
        hidden_size: int = 32,
        num_hidden: int = 3,
        w0: float = 30.0,
        reach: float = REACH,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        if not 0 < reach < math.inf:
            raise ValueError(f"SirenCurve: reach is {reach}; it must be a positive number")
        self.reach = float(reach)
        self.siren = SIREN(1, 1, hidden_size, num_hidden, w0)
        if pretrained is not None:
            self.load_pretrained(pretrained)

    def forward(self, x: Tensor) -> Tensor:
        place = (x / self.reach).clamp(-1.0, 1.0)
        return self.siren(place.unsqueeze(-1)).squeeze(-1)

    @property
    def facts(self) -> dict[str, Fact]:
        """What a file of weights must say of itself."""
        return {"kind": self.kind, **self.siren.facts, "reach": self.reach}

    def load_pretrained(self, path: str | Path) -> None:
        """Take the weights of a file made by `nablafx pretrain tanh`; PretrainedError where it does not fit."""
        self.siren.load_pretrained(path, **self.facts)

    def extra_repr(self) -> str:
        return f"reach={self.reach:g}"


class SirenTaps(nn.Module):
    """Taps of a FIR filter drawn by a SIREN.

        h_k = siren(t_k) / sqrt(num_taps),   t = num_taps coordinates, evenly from -1 to 1

    () -> h: (num_taps,). Without `pretrained` the filter starts all but silent, below -30 dB at every frequency: the
    sines of a fresh net are slow, so that taps of its usual size would add up to a boost of the bass.
    num_taps: the default is 21 ms at 48 kHz, what a loudspeaker cabinet needs.
    w0: 100 draws 1024 taps up to Nyquist; the 30 of curves leaves errors of -25 dB in a response with treble.
    sample_rate: Hz, for which the taps are meant; a file for another one is refused. None: not known, not checked.
    pretrained: a file of `nablafx pretrain fir`, looked for as given and then below the top of the checkout.
    Raises ValueError for sizes that are not positive, PretrainedError for a file that does not fit.
    """

    kind = "fir"
    coordinates: Tensor

    def __init__(
        self,
        num_taps: int = 1024,
        hidden_size: int = 32,
        num_hidden: int = 3,
        w0: float = 100.0,
        pretrained: str | Path | None = None,
        sample_rate: float | None = None,
    ) -> None:
        super().__init__()
        if num_taps < 2:
            raise ValueError(f"SirenTaps: num_taps is {num_taps}; it must be 2 or more")
        self.num_taps = num_taps
        self.sample_rate = sample_rate
        self.siren = SIREN(1, 1, hidden_size, num_hidden, w0)
        self._quieten()
        self.register_buffer("coordinates", torch.linspace(-1.0, 1.0, num_taps).unsqueeze(-1), persistent=False)
        if pretrained is not None:
            self.load_pretrained(pretrained)

    def forward(self) -> Tensor:
        return self.siren(self.coordinates).squeeze(-1) / math.sqrt(self.num_taps)

    @property
    def facts(self) -> dict[str, Fact]:
        """What a file of weights must say of itself."""
        rate = {} if self.sample_rate is None else {"sample_rate": self.sample_rate}
        return {"kind": self.kind, **self.siren.facts, "num_taps": self.num_taps, **rate}

    def load_pretrained(self, path: str | Path) -> None:
        """Take the weights of a file made by `nablafx pretrain fir`; PretrainedError where it does not fit."""
        self.siren.load_pretrained(path, **self.facts)

    def extra_repr(self) -> str:
        return f"num_taps={self.num_taps}"

    @torch.no_grad()
    def _quieten(self) -> None:
        output = self.siren.linear[-1]
        output.weight /= math.sqrt(self.num_taps)
        output.bias.zero_()
