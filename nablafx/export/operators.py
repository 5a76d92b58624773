"""Operators that exports need beside those of :mod:`nablafx.kernels`: steps that take any number of samples.

In plain torch, each of them would hold a traced graph to the number of samples that it was traced with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# samples that a linear system is run by: more are more products a sample, fewer more steps
_BLOCK = 64


def block_for(length: Any) -> int:
    """Samples of a block for calls of `length` samples, where that is a number and not a symbol or None."""
    if not isinstance(length, int):
        return _BLOCK
    even = max(size for size in range(1, _BLOCK + 1) if length % size == 0)
    return even if 4 * even >= min(length, _BLOCK) else _BLOCK


@torch.library.custom_op("nablafx::diagonal_scan", mutates_args=())
def diagonal_scan(x: Tensor, state: Tensor, table: Tensor, powers: Tensor) -> tuple[Tensor, Tensor]:
    """Run H diagonal state-space systems by blocks of m samples; every number is real.

        (y, s') = (x, s) table        for x and y the m samples of a block, s and s' the 2 N of the state around it

    Args:
        x: (B, H, T).
        state: (B, H, 2, N), real and imaginary parts.
        table: (H, m + 2 N, m + 2 N).
        powers: (m + 1, H, 2, N), the transitions z^l of l samples.

    Returns:
        y (B, H, T) and the state after the last sample.
    """
    m = powers.shape[0] - 1
    outputs = []
    for piece in x.split(m, dim=-1):
        length = piece.shape[-1]
        inputs = torch.cat([F.pad(piece, (0, m - length)), state.flatten(-2)], dim=-1)
        outputs.append((inputs.unsqueeze(-2) @ table[..., :length]).squeeze(-2))
        # of the table's rows for samples, the last ones are those of as many samples as there are
        added = piece.unsqueeze(-2) @ table[:, m - length : m, m:]
        state = turned(state, powers[length]) + added.view_as(state)
    return torch.cat(outputs, dim=-1), state


@diagonal_scan.register_fake
def _(x: Tensor, state: Tensor, table: Tensor, powers: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), state.new_empty(state.shape)


def turned(state: Tensor, power: Tensor) -> Tensor:
    """The product of complex numbers whose parts lie in dimension -2."""
    (re, im), (a, b) = state.unbind(-2), power.unbind(-2)
    return torch.stack([a * re - b * im, a * im + b * re], dim=-2)


@torch.library.custom_op("nablafx::lstm", mutates_args=())
def lstm(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, steps: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer; its state may be wanted after fewer steps than there are, and the others may be anything.

    Args:
        x: (B, N, I).
        h, c: (B, 1, H).
        w_ih, w_hh, bias: (4 H, I), (4 H, H) and (4 H,), gates in torch's order.
        steps: () int64, 0 to N; None: N.

    Returns:
        The output (B, N, H), 0 after `steps`, and h and c.
    """
    length = x.shape[1]
    taken = length if steps is None else int(steps)
    if not taken:
        return x.new_zeros(*x.shape[:2], h.shape[-1]), h.clone(), c.clone()
    weights = [w_ih, w_hh, bias, torch.zeros_like(bias)]
    state = [h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous()]
    out, h, c = torch.lstm(x[:, :taken], state, weights, True, 1, 0.0, False, False, True)
    return F.pad(out, (0, 0, 0, length - taken)), h.transpose(0, 1).clone(), c.transpose(0, 1).clone()


@lstm.register_fake
def _(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, steps: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(*x.shape[:2], h.shape[-1]), h.new_empty(h.shape), c.new_empty(c.shape)


@torch.library.custom_op("nablafx::block_peaks", mutates_args=())
def block_peaks(x: Tensor, begun: Tensor, size: int) -> Tensor:
    """Largest samples of the blocks that x (B, C, T) lies in: `begun` (1,) of the first one's `size` were before it.

    There are ceil(T / size) + 1 of them, (B, C, N), as many as there can be, and never one alone, which to a tracer is
    a number unlike the others. Of blocks that x does not reach, -inf.
    """
    before, length = int(begun), x.shape[-1]
    blocks = _blocks(length, size)
    x = F.pad(x, (before, blocks * size - before - length), value=-torch.inf)
    return x.unflatten(-1, (blocks, size)).amax(-1)


@block_peaks.register_fake
def _(x: Tensor, begun: Tensor, size: int) -> Tensor:
    return x.new_empty(*x.shape[:2], _blocks(x.shape[-1], size))


def _blocks(length: int, size: int) -> int:
    return (length + size - 1) // size + 1
