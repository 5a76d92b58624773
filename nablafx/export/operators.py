"""Operators that exports need beside those of :mod:`nablafx.kernels`: what has no fixed shape otherwise.

Both take any number of samples without a guard on it, and state what they keep as tensors of fixed shape.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.library.custom_op("nablafx::diagonal_scan", mutates_args=())
def diagonal_scan(
    x: Tensor, state: Tensor, inner: Tensor, entry: Tensor, readout: Tensor, powers: Tensor
) -> tuple[Tensor, Tensor]:
    """Run diagonal state-space systems by blocks of m samples; every number is real.

        y = x inner + s readout,    s' = z^m s + x entry        for x the m samples of a block, s before it

    Args:
        x: (B, H, T).
        state: (B, H, N, 2), real and imaginary parts.
        inner: (H, m, m), column n what the samples of a block make of its output n.
        entry: (H, m, 2 N), what they leave in the state after it.
        readout: (H, 2 N, m), what the state before it makes of its outputs.
        powers: (m + 1, H, 2, N), z^l, real and imaginary.

    Returns:
        y (B, H, T) and the state after the last sample.
    """
    m, states = inner.shape[-1], entry.shape[-1] // 2
    flat, outputs = state.transpose(-1, -2), []
    for piece in x.split(m, dim=-1):
        length = piece.shape[-1]
        # (B, H, 2, N) as (B, H, 1, 2 N)
        y = piece.unsqueeze(-2) @ inner[:, :length, :length] + flat.flatten(-2).unsqueeze(-2) @ readout[..., :length]
        added = piece.unsqueeze(-2) @ entry[:, m - length :]
        flat = _turned(flat, powers[length]) + added.unflatten(-1, (2, states)).squeeze(-3)
        outputs.append(y.squeeze(-2))
    return torch.cat(outputs, dim=-1), flat.transpose(-1, -2).contiguous()


@diagonal_scan.register_fake
def _(
    x: Tensor, state: Tensor, inner: Tensor, entry: Tensor, readout: Tensor, powers: Tensor
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), state.new_empty(state.shape)


def _turned(state: Tensor, power: Tensor) -> Tensor:
    """power · state of complex numbers whose parts lie in dimension -2."""
    (re, im), (a, b) = state.unbind(-2), power.unbind(-2)
    return torch.stack([a * re - b * im, a * im + b * re], dim=-2)


@torch.library.custom_op("nablafx::lstm", mutates_args=())
def lstm(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, steps: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer; its state may be wanted after fewer steps than there are, and the others may be anything.

    Args:
        x: (B, N, I).
        h, c: (B, H).
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
    out, h, c = torch.lstm(
        x[:, :taken], [h.unsqueeze(0), c.unsqueeze(0)], weights, True, 1, 0.0, False, False, True
    )
    return F.pad(out, (0, 0, 0, length - taken)), h.squeeze(0), c.squeeze(0)


@lstm.register_fake
def _(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, steps: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(*x.shape[:2], h.shape[-1]), h.new_empty(h.shape), c.new_empty(c.shape)


@torch.library.custom_op("nablafx::block_peaks", mutates_args=())
def block_peaks(x: Tensor, begun: Tensor, size: int) -> Tensor:
    """Largest samples of the blocks of `size` that x (B, C, T) lies in, with `begun` (1,) samples of the first before it.

    There are ceil(T / size) + 1, (B, C, N), as many as there can be: -inf for those that x does not reach. One alone
    would be a number unlike the others to what traces it.
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
