"""Recurrent network that hears envelopes and sets a gain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nablafx.effects.base import Effect
from nablafx.effects.stack import ConditioningRecipe, build_appended
from nablafx.layers.activation import OutputActivation, make_output_activation
from nablafx.layers.causal_conv import CausalConv1d, LongFIR
from nablafx.layers.envelopes import EnvelopeBank
from nablafx.layers.held import Held
from nablafx.layers.recurrent import Recurrent
from nablafx.layers.resonators import POLES, ResonantFilter, ResonatorBank


class EnvelopeLSTM(Effect):
    """An LSTM that hears bands and envelopes of the audio, and beside it a gain of the dry audio that it sets.

        r = ResonatorBank(x),   b, v = FIR(x),   e = EnvelopeBank(v),   h = LSTM(r ⊕ b ⊕ e ⊕ cond)
        y = act(FIR(ResonantFilter(a + g x))),   (a, g) = Linear(h)

    An LSTM has to learn to remember a level, for which time is short; followers with time constants up to `slowest_ms`
    tell it. It has to make the tone of what clips out of the same units; learned poles before and after it do. And what
    a compressor does is a gain: it is one multiplication here. The bands are `num_bands` learned filters, the first of
    which begins as the audio itself; so do the filters before the envelopes, but for some noise, and the last ones.
    Conditioning appends features as for :class:`nablafx.effects.lstm.LSTM`.
    """

    def __init__(
        self,
        num_controls: int = 0,
        hidden_size: int = 32,
        num_bands: int = 4,
        num_envelopes: int = 8,
        num_resonators: int = 8,
        num_poles: int = 4,
        kernel_size: int = 32,
        num_taps: int = 512,
        fastest_ms: float = 1.0,
        slowest_ms: float = 500.0,
        output_activation: OutputActivation = "none",
        conditioning: ConditioningRecipe | None = None,
        sample_rate: int = 48_000,
    ) -> None:
        """
        Args:
            num_controls: controls of the device; supplied by the data.
            num_bands: filters whose output the LSTM hears as it is.
            num_envelopes: filters whose envelope it hears.
            num_resonators: pairs of poles whose output it hears.
            num_poles: pairs of poles that the output passes.
            kernel_size: taps of each filter before the LSTM.
            num_taps: of the filter behind it: a cabinet needs some hundreds.
            fastest_ms, slowest_ms: the first and the last time constant before training.
            conditioning: recipe, the class FixedConditioning, TVFiLM or FiLM.
            sample_rate: Hz; supplied by the data.
        """
        super().__init__()
        if num_bands < 0 or min(num_envelopes, num_resonators, num_poles) < 1:
            raise ValueError(
                f"EnvelopeLSTM: num_bands is {num_bands}, num_envelopes {num_envelopes}, num_resonators "
                f"{num_resonators}, num_poles {num_poles}; at least 0, 1, 1 and 1 are needed"
            )
        self.conditioning = build_appended(conditioning, num_controls, type(self).__name__)
        self.num_controls = self.conditioning.num_controls
        self.frame_size = self.conditioning.frame_size
        self.resonators = ResonatorBank(num_resonators, sample_rate)
        self.filters = CausalConv1d(1, num_bands + num_envelopes, kernel_size)
        self.envelopes = EnvelopeBank(num_envelopes, sample_rate, fastest_ms, slowest_ms)
        heard = num_resonators + num_bands + num_envelopes + self.conditioning.num_features
        self.lstm = Recurrent(heard, hidden_size)
        self.readout = nn.Linear(hidden_size, 2)
        self.tone = ResonantFilter(num_poles, sample_rate)
        self.last = LongFIR(num_taps)
        self.output_activation = make_output_activation(output_activation)
        self._begin(num_bands)

    @torch.no_grad()
    def _begin(self, num_bands: int) -> None:
        """Begin as x with a little of what the LSTM makes: filters near the identity, a gain of 1."""
        assert self.filters.bias is not None
        self.filters.bias.zero_()
        self.filters.weight.mul_(0.3)
        self.filters.weight[:1, 0, -1] = 1.0
        self.filters.weight[num_bands:, 0, -1] += 1.0
        self.readout.weight[1] = 0.0
        self.readout.bias.copy_(torch.tensor([0.0, 1.0]))

    def process(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        cond, shared = self.conditioning.encode(x, controls, state["conditioning"])
        r, resonators = self.resonators(x, state["resonators"])
        z, filters = self.filters(x, state["filters"])
        heard, envelopes = self.envelopes(torch.cat([r, z], dim=1), state["envelopes"])
        h, lstm = self.lstm(self._appended(heard, cond), state["lstm"])
        y, tone = self.tone(self._read(h, x), state["tone"])
        y, last = self.last(y, state["last"])
        after = {"conditioning": shared, "resonators": resonators, "filters": filters, "envelopes": envelopes}
        return self.output_activation(y), {**after, "lstm": lstm, "tone": tone, "last": last}

    def rest(self, x: Tensor, controls: Tensor | None) -> Any:
        cond, shared = self.conditioning.rest(x, controls)
        r, resonators = self.resonators.rest(x)
        z, filters = self.filters.rest(x)
        heard, envelopes = self.envelopes.rest(torch.cat([r, z], dim=1))
        h, lstm = self.lstm.rest(self._appended(heard, cond).squeeze(1))
        y, tone = self.tone.rest(self._read(h.unsqueeze(1), x))
        _, last = self.last.rest(y)
        before = {"conditioning": shared, "resonators": resonators, "filters": filters, "envelopes": envelopes}
        return {**before, "lstm": lstm, "tone": tone, "last": last}

    def parameter_options(self) -> dict[str, dict[str, float]]:
        # few numbers that decide much, each with a place to start from
        slow = ("envelopes", *(f"{part}.{name}" for part in ("resonators", "tone") for name in POLES))
        options = {name: {"lr_multiplier": 0.1, "weight_decay": 0.0} for name in slow}
        # hundreds of taps that all move at the rate of one: a preamp with a cabinet diverged at ten times that
        return {**options, "last": {"lr_multiplier": 0.1}}

    def _appended(self, heard: Tensor, cond: Held | None) -> Tensor:
        """heard (B, T, I) and what the conditioning says, (B, T, I + F)."""
        return heard if cond is None else torch.cat([heard, cond.at_samples(heard.shape[1]).transpose(1, 2)], dim=-1)

    def _read(self, h: Tensor, x: Tensor) -> Tensor:
        """a + g x for h (B, T, hidden_size) and x (B, 1, T)."""
        added, gain = self.readout(h).transpose(1, 2).split(1, dim=1)
        return torch.addcmul(added, gain, x)
