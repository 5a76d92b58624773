"""The kernels on a CPU, compiled by numba: see :mod:`nablafx.kernels.recurrent.reference` for what they compute."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx.kernels.memory import array, copied
from nablafx.kernels.products import groups_of
from nablafx.kernels.recurrent.loops import LANES, backward, forward, pack, pack_back, pack_heard, pack_input
from nablafx.kernels.threads import share


def kept_shape(batch: int, steps: int, units: int) -> tuple[int, int, int, int]:
    """Of what is kept: c, in groups of LANES units."""
    return batch, steps, groups_of(units), LANES


def lstm(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, learns: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, h, c, and the c of every step where it `learns`, and else of the last one."""
    batch, length, _ = x.shape
    units = h.shape[1]
    y, kept = torch.empty(batch, length, units), torch.empty(kept_shape(batch, length if learns else 1, units))
    after = [copied(s) for s in (h, c)]
    weights = [_packed(w) for w in (w_ih, w_hh, bias.unsqueeze(-1))]
    arrays = [array(t) for t in (x, *weights, *after, y, kept)]
    share(batch, partial(forward, *arrays))
    return y, *after, kept  # type: ignore[return-value]


def lstm_backward(
    grad_y: Tensor,
    grad_h: Tensor,
    grad_c: Tensor,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias: Tensor,
    y: Tensor,
    kept: Tensor,
    by_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, of h and c, of the weights and the bias."""
    batch, length, inputs = x.shape
    units, groups = h.shape[1], groups_of(h.shape[1])
    grad_x = torch.empty(batch, length if by_x else 0, inputs)
    before = [copied(g) for g in (grad_h, grad_c)]
    heard = -(-(inputs + units + 1) // 4) * 4
    sums, weights = torch.zeros(batch, heard, groups * 4, LANES), torch.zeros(groups * 4, heard, LANES)
    for at, w in ((0, w_ih), (inputs, w_hh), (inputs + units, bias.unsqueeze(-1))):
        pack_heard(array(w), weights.numpy(), at)
    back = torch.zeros(groups, groups * LANES, 4, LANES)
    pack_back(array(w_hh), back.numpy())
    into = torch.zeros(groups_of(inputs), groups * 4 * LANES, LANES)
    pack_input(array(w_ih), into.numpy())
    # whole groups of units
    grad_y = F.pad(grad_y, (0, groups * LANES - units))
    arrays = [array(t) for t in (grad_y, x, weights, into, back, h, c, y, kept, grad_x, *before, sums)]
    share(batch, partial(backward, *arrays))
    by_row = sums.sum(0).view(-1, groups, 4, LANES).permute(2, 1, 3, 0).reshape(4, groups * LANES, -1)
    by_all = by_row[:, :units, : inputs + units + 1].reshape(4 * units, -1)
    by_in, by_rec, by_bias = (w.clone() for w in by_all.split([inputs, units, 1], dim=1))
    return grad_x, *before, by_in, by_rec, by_bias.flatten()


def _packed(w: Tensor) -> Tensor:
    packed = torch.zeros(groups_of(w.shape[0] // 4), w.shape[1], 4, LANES)
    pack(array(w), packed.numpy())
    return packed
