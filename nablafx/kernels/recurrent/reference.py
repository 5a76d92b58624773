"""What the kernels compute, by torch's own LSTM.

Shapes that all backends share:
    x: (B, T, I); y: (B, T, H).
    h, c: (B, H), output and cell before the first step, or after the last one.
    w_ih, w_hh: (4 H, I) and (4 H, H); bias: (4 H,), of the two that torch has the sum.

        i, f, g, o = w_ih x + w_hh h + bias;  c <- σ(f) c + σ(i) tanh(g);  h <- σ(o) tanh(c)
"""

from __future__ import annotations

import torch
from torch import Tensor


def lstm(x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run one layer: y, h, c."""
    weights = [w_ih, w_hh, bias, torch.zeros_like(bias)]
    y, h, c = torch.lstm(x, [h.unsqueeze(0), c.unsqueeze(0)], weights, True, 1, 0.0, False, False, True)
    return y, h.squeeze(0), c.squeeze(0)
