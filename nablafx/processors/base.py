"""What every processor is: named parameters with ranges, and a causal map of audio that they steer."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from nablafx.dsp.biquad import MAX_CUTOFF
from nablafx.dsp.filtering import svfilt, svfilt_zi
from nablafx.dsp.response import sos_response
from nablafx.layers.checks import check_audio
from nablafx.layers.held import Held

State = Any
Mapping = Literal["linear", "log"]
Range = float | tuple[float, float] | tuple[float, float, Mapping]
"""Values of a parameter: low and high, reached at u = 0 and u = 1, with equal differences between (linear) or equal
ratios (log); or one number that fixes it, and then it is no parameter any more."""


class Span(NamedTuple):
    """A checked :data:`Range`."""

    low: float
    high: float
    mapping: Mapping = "linear"


class Processor(nn.Module):
    """One signal processor of a gray box.

    `y, state = processor(x, u, state)`: cut x anywhere, and the pieces give what the whole gives. u holds its
    parameters, normalised, one value for ever or one for each block; each is mapped to its range, which is an argument
    of the constructor. State None: it has heard silence for ever, with the first values of u.

    Subclasses hand their ranges to the constructor and write `process`; those with memory also `settle`, those that
    are linear `response`, those without memory `curve`. What recordings tell of a parameter, `guess` says.

    Attributes:
        sample_rate: Hz.
        ranges: by name, of the parameters that u sets, in its order.
        fixed: by name, the values of those that have one value.
        lr_multiplier: factor of the learning rate for what it learns itself and for its controller.
    """

    lr_multiplier: float = 1.0
    _ends: Tensor
    _is_log: Tensor

    def __init__(self, sample_rate: float, **ranges: Range) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        spans = {name: self._span(name, given) for name, given in ranges.items()}
        self.ranges = {name: span for name, span in spans.items() if not isinstance(ranges[name], (int, float))}
        self.fixed = {name: span.low for name, span in spans.items() if name not in self.ranges}
        self._names = tuple(ranges)
        table = [[span.low for span in self.ranges.values()], [span.high for span in self.ranges.values()]]
        is_log = [span.mapping == "log" for span in self.ranges.values()]
        # kept where the audio is: to bring them there for every piece is to wait for the accelerator
        self.register_buffer("_ends", torch.tensor(table, dtype=torch.float64).unsqueeze(-1), persistent=False)
        self.register_buffer("_is_log", torch.tensor(is_log, dtype=torch.bool).unsqueeze(-1), persistent=False)

    @property
    def num_parameters(self) -> int:
        """Parameters that a controller has to set, P."""
        return len(self.ranges)

    def forward(
        self, x: Tensor, u: Held | Tensor | None = None, state: State = None, dry: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run the processor.

        Args:
            x: (B, 1, T) audio.
            u: (B or 1, P, N) in [0, 1], N = 1 or one value for each of N equal blocks, or already held over blocks;
                None where P = 0.
            state: what an earlier call returned, or None.
            dry: (B, 1, T) audio at the input of the chain, for processors that mix it in; None: silence.

        Raises:
            ValueError: x or u are of another shape.
        """
        check_audio(x, self)
        held = self._held(u, x.shape[-1])
        if state is None:
            _, state = self.rest(torch.zeros_like(x[..., :1]), None if held is None else held.first())
        return self.process(self.hear(x, dry), state, **self.denormalise(held, x.device))

    def rest(self, x: Tensor, u: Held | Tensor | None = None, dry: Tensor | None = None) -> tuple[Tensor, State]:
        """Answer to the constants x and dry (B, 1, 1) held for ever, and the state that they leave."""
        return self.settle(self.hear(x, dry), **self.denormalise(self._held(u, 1), x.device))

    def process(self, x: Tensor, state: State, **params: Held) -> tuple[Tensor, State]:
        """As `forward`, with the physical values of the parameters by name, each (B or 1, 1, N) float64."""
        raise NotImplementedError

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, State]:
        """As `rest`, with physical values; what has no memory need not write it."""
        return self.process(x, (), **params)

    def hear(self, x: Tensor, dry: Tensor | None) -> Tensor:
        """What `process` gets of x and the dry audio, (B, C, T)."""
        return x

    def response(self, freqs_hz: Tensor, **params: Tensor) -> Tensor | None:
        """Frequency response (B, N, F) complex128 at freqs_hz (F,) for values (B, N); None: it is not linear."""
        return None

    def curve(self, levels: Tensor, **params: Tensor) -> Tensor | None:
        """Output (B, N, L) for constant levels (L,) and values (B, N); None: a constant input does not tell it."""
        return None

    def guess(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Values to begin training from, by name: x (B, 1, T) is what comes in, y the device's own output.

        What is no parameter, a processor sets itself, and tells. Empty: nothing is known better than the middle.
        """
        return {}

    def normalise(self, values: dict[str, float]) -> Tensor:
        """u (P,) in [0, 1] of physical values; what lies outside its range is taken for the nearer end, none is NaN."""
        u = torch.full((self.num_parameters,), torch.nan, dtype=torch.float64)
        for n, (name, span) in enumerate(self.ranges.items()):
            if name in values and span.high > span.low:
                value, low, high = (
                    math.log(v) if span.mapping == "log" else v
                    for v in (min(max(values[name], span.low), span.high), span.low, span.high)
                )
                u[n] = (value - low) / (high - low)
        return u

    def denormalise(self, u: Held | None, device: torch.device | str = "cpu") -> dict[str, Held]:
        """Physical values by name, float64: those that u (B, P, N) sets, held as it is, and the fixed ones."""
        params = {}
        if u is not None:
            values = self._physical(u.values.double()).split(1, dim=1)
            params = {name: u._replace(values=value) for name, value in zip(self.ranges, values, strict=True)}
        for name, value in self.fixed.items():
            params[name] = Held(torch.full((1, 1, 1), value, dtype=torch.float64, device=device))
        return {name: params[name] for name in self._names}

    def _physical(self, u: Tensor) -> Tensor:
        """u (B, P, N) -> values of the same shape, all ranges at once."""
        low, high = self._ends.double()
        if all(span.mapping == "linear" for span in self.ranges.values()):
            return low + (high - low) * u
        # a linear range may hold 0, where a ratio has no meaning
        floor, ratio = torch.where(self._is_log, low, 1.0), torch.where(self._is_log, high / low, 1.0)
        return torch.where(self._is_log, floor * ratio**u, low + (high - low) * u)

    def extra_repr(self) -> str:
        ranges = [f"{name}={list(span)}" for name, span in self.ranges.items()]
        return ", ".join(ranges + [f"{name}={value:g}" for name, value in self.fixed.items()])

    def _span(self, name: str, given: Range) -> Span:
        span = Span(given, given) if isinstance(given, (int, float)) else Span(*given)
        where = f"{type(self).__name__}: {name} is {given!r}"
        if span.mapping not in ("linear", "log"):
            raise ValueError(f"{where}; its mapping must be linear or log")
        if not -float("inf") < span.low <= span.high < float("inf"):
            raise ValueError(f"{where}; it needs a number, or two with the lower one first")
        if span.mapping == "log" and span.low <= 0:
            raise ValueError(f"{where}; a log range must lie above 0")
        if name.endswith("_hz"):
            # at half the sample rate poles and zeros fall together
            highest = MAX_CUTOFF * self.sample_rate
            if not 0 < span.low <= highest:
                raise ValueError(f"{where}; a cut-off must lie above 0 and under {highest:g} Hz here")
            span = span._replace(high=min(span.high, highest))
        return span

    def _held(self, u: Held | Tensor | None, length: int) -> Held | None:
        values = u.values if isinstance(u, Held) else u
        given = None if values is None else values.shape[1] if values.dim() == 3 else tuple(values.shape)
        if (given or 0) != self.num_parameters:
            names = ", ".join(self.ranges) or "none"
            raise ValueError(
                f"{type(self).__name__} has {self.num_parameters} parameters ({names}), and u must have shape "
                f"(batch, {self.num_parameters}, blocks); got {'none' if values is None else tuple(values.shape)}"
            )
        if values is None or isinstance(u, Held):
            return u  # type: ignore[return-value]
        return Held(values, None if values.shape[-1] == 1 else -(-length // values.shape[-1]))


class SosProcessor(Processor):
    """Second-order sections that the parameters design; `sections` is all that a subclass writes.

    State: (B, 1, K, 2) float64, see :func:`nablafx.dsp.filtering.svfilt`: stable however the parameters jump.
    """

    def sections(self, **params: Tensor) -> Tensor:
        """Values (B, N) by name -> sections (B, N, K, 6)."""
        raise NotImplementedError

    def process(self, x: Tensor, state: State, **params: Held) -> tuple[Tensor, State]:
        grid = grid_of(params)
        return svfilt(x, self.sections(**flat(params)), state, grid.block_size, grid.offset)

    def settle(self, x: Tensor, **params: Held) -> tuple[Tensor, State]:
        return svfilt_zi(x, self.sections(**flat(params)))

    def response(self, freqs_hz: Tensor, **params: Tensor) -> Tensor | None:
        return sos_response(self.sections(**params), freqs_hz, self.sample_rate)


def flat(params: dict[str, Held]) -> dict[str, Tensor]:
    """Values (B, 1, N) as (B, N)."""
    return {name: held.values.squeeze(1) for name, held in params.items()}


def grid_of(params: dict[str, Held]) -> Held:
    """One of the parameters that tells the blocks: those that vary share theirs."""
    return next((held for held in params.values() if held.block_size is not None), next(iter(params.values())))
