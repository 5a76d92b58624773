"""An LSTM that runs once per block of samples, on the block's peaks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx.layers.held import Held
from nablafx.layers.recurrent import Recurrent

State = tuple[Tensor, Tensor, Tensor]


class BlockLSTM(nn.Module):
    """max-pool over `block_size` samples ⊕ controls -> LSTM, its output held over the block.

    Blocks are counted from the first sample of the stream. With `lookahead` (as published) block n is governed by what
    the LSTM made of blocks up to n itself, so a block must be whole before its first sample can leave. Without, by
    blocks up to n - 1: no latency, and cuts may fall anywhere.

    State: the samples of the unfinished block (B, C, 0 to block_size - 1), and the LSTM's (h, c).
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        num_controls: int = 0,
        block_size: int = 128,
        lookahead: bool = True,
        squeeze: int | None = None,
        fill_zeros: bool = False,
    ) -> None:
        """
        Args:
            squeeze: channels that a 1x1 convolution leaves of the pooled ones before the LSTM.
            fill_zeros: with `lookahead`, a block that the end of a sequence cuts short is filled up with zeros, as
                published, and not taken as it is.
        """
        super().__init__()
        if block_size < 1:
            raise ValueError(f"BlockLSTM: block_size must be at least 1 sample, got {block_size}")
        self.block_size = block_size
        self.lookahead = lookahead
        self.fill_zeros = fill_zeros
        self.squeeze = nn.Conv1d(channels, squeeze, 1) if squeeze else nn.Identity()
        self.lstm = Recurrent((squeeze or channels) + num_controls, hidden_size)

    def forward(self, x: Tensor, controls: Tensor | None, state: State) -> tuple[Held, State]:
        """x (B, C, T), controls (B, P) -> h held over x, values (B, hidden_size, N)."""
        pending, h, c = state
        if self.lookahead:
            return self._with_lookahead(x, controls, pending, (h, c))
        offset = pending.shape[-1]
        x = torch.cat([pending, x], dim=-1)
        whole = x.shape[-1] // self.block_size * self.block_size
        values = h.transpose(1, 2)
        if whole:
            pooled = _peaks(x[..., :whole], self.block_size)
            made, (h, c) = self._run(pooled, controls, (h, c))
            # what is made of a block governs the next one; the last one only if samples of it are here
            values = torch.cat([values, made if whole < x.shape[-1] else made[..., :-1]], dim=-1)
        return Held(values, self.block_size, offset), (x[..., whole:], h, c)

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, State]:
        """Answer to a constant input x (B, C, 1) held for ever."""
        out, (h, c) = self.lstm.rest(self.features(x, controls).squeeze(1))
        return Held(out.unsqueeze(-1)), (x[..., :0].expand(out.shape[0], -1, -1), h, c)

    def _with_lookahead(self, x: Tensor, controls: Tensor | None, pending: Tensor, state: tuple[Tensor, Tensor]):
        if pending.shape[-1]:
            raise ValueError(
                f"BlockLSTM with lookahead: the input so far ended {pending.shape[-1]} samples into a block of "
                f"{self.block_size}, and that block has already been heard; cut at multiples of {self.block_size} "
                "samples, or build the model with lookahead: false"
            )
        unfinished = x[..., x.shape[-1] // self.block_size * self.block_size :]
        pooled = _peaks(x, self.block_size)
        if self.fill_zeros and unfinished.shape[-1]:
            pooled = torch.cat([pooled[..., :-1], pooled[..., -1:].clamp_min(0)], dim=-1)
        values, (h, c) = self._run(pooled, controls, state)
        return Held(values, self.block_size), (unfinished, h, c)

    def _run(self, pooled: Tensor, controls: Tensor | None, state: tuple[Tensor, Tensor]):
        out, state = self.lstm(self.features(pooled, controls), state)
        return out.transpose(1, 2), state

    def features(self, pooled: Tensor, controls: Tensor | None) -> Tensor:
        """(B, C, N) and (B, P) -> (B, N, C + P)."""
        features = self.squeeze(pooled).transpose(1, 2)
        if controls is None:
            return features
        held = controls.unsqueeze(1).expand(-1, features.shape[1], -1)
        return torch.cat([features.expand(held.shape[0], -1, -1), held], dim=-1)


def _peaks(x: Tensor, block_size: int) -> Tensor:
    """The largest sample of each block of x (B, C, T): (B, C, ceil(T / block_size)).

    F.max_pool1d with a gradient that does not turn over all of the features to find its few places.
    """
    _, places = F.max_pool1d(x.detach(), block_size, ceil_mode=True, return_indices=True)
    return x.gather(-1, places)
