"""The ways of differentiable filtering that are in use elsewhere, as well made as we can: scripts/benchmark_filters.py.

Audio is (B, 1, T) float32. Sections (B, N, K, 6) have scipy's order and are taken to float32 here, which is what these
ways compute in. Where several forms of one way were tried, the fastest stands here: a ratio says too little rather than
too much.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional as F

from nablafx.dsp import biquad
from nablafx.kernels.threads import share


def frequency_sampling(x: Tensor, sos: Tensor) -> Tensor:
    """The product of the sections' sampled responses with the spectrum of the whole signal; sos (B, 1, K, 6)."""
    length = x.shape[-1]
    size = 1 << (2 * length - 2).bit_length()
    b, a = sos[:, 0].float().split(3, dim=-1)
    response = (torch.fft.rfft(b, size) / torch.fft.rfft(a, size)).prod(dim=1, keepdim=True)
    return torch.fft.irfft(torch.fft.rfft(x, size) * response, size)[..., :length]


def block_loop(x: Tensor, sos: Tensor, block: int) -> Tensor:
    """`frequency_sampling` of each block by itself. The state is lost at every block: this is what was published."""
    blocks = zip(x.split(block, dim=-1), sos.split(1, dim=1), strict=True)
    return torch.cat([frequency_sampling(piece, sections) for piece, sections in blocks], dim=-1)


def equaliser_loop(x: Tensor, gain_db: Tensor, cutoff_hz: Tensor, block: int, sample_rate: float) -> Tensor:
    """As `block_loop`, with each of the K bells of (B, N, K) designed and applied by itself in every block.

    So was a dynamic equaliser published: the whole processor, called anew for each block.
    """
    outputs = []
    for n, piece in enumerate(x.split(block, dim=-1)):
        for k in range(gain_db.shape[-1]):
            section = biquad.peaking(gain_db[:, n, k], cutoff_hz[:, n, k], 1.0, sample_rate)
            piece = frequency_sampling(piece, section[:, None, None])
        outputs.append(piece)
    return torch.cat(outputs, dim=-1)


def filter_passes(x: Tensor, sos: Tensor) -> Tensor:
    """Section after section, each a sum of shifted audio and then a compiled recursion; sos (B, 1, K, 6)."""
    y = x[:, 0]
    for section in sos[:, 0].float().unbind(1):
        b, a = section[:, :3], section[:, 4:]
        y = _AllPole.apply(_zeros(y, b.unsqueeze(-1)), a)
    return y.unsqueeze(1)


def sample_filter(x: Tensor, sos: Tensor, block: int) -> Tensor:
    """`filter_passes` with coefficients for every sample, (B, 6, T) for each section, held over blocks."""
    y = x[:, 0]
    for section in sos.float().unbind(2):
        rows = section.transpose(1, 2).unsqueeze(-1)
        held = rows.expand(*rows.shape[:-1], block).reshape(*rows.shape[:2], -1)[..., : x.shape[-1]]
        b, a = held[:, :3], held[:, 4:]
        y = _VaryingAllPole.apply(_zeros(y, b), a)
    return y.unsqueeze(1)


def conv1d(x: Tensor, taps: Tensor) -> Tensor:
    """Convolution without a spectrum."""
    return F.conv1d(F.pad(x, (len(taps) - 1, 0)), taps.flip(0).view(1, 1, -1))


def one_fft(x: Tensor, taps: Tensor) -> Tensor:
    """Convolution by one FFT of all of the audio."""
    length = x.shape[-1]
    size = 1 << (length + len(taps) - 2).bit_length()
    return torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(taps, size), size)[..., :length]


def envelope_loop(x: Tensor, attack: Tensor, release: Tensor) -> Tensor:
    """The follower of :func:`nablafx.dsp.filtering.envelope` sample by sample; attack and release (1, 1)."""
    e = torch.zeros_like(x[..., 0])
    follow = []
    for u in x.unbind(-1):
        e = u + torch.where(u > e, attack, release) * (e - u)
        follow.append(e)
    return torch.stack(follow, dim=-1)


def _zeros(x: Tensor, b: Tensor) -> Tensor:
    """b[0] x[n] + b[1] x[n - 1] + b[2] x[n - 2]: x (B, T), b (B, 3, 1 or T)."""
    length = x.shape[-1]
    past = F.pad(x, (2, 0))
    return b[:, 0] * x + b[:, 1] * past[:, 1 : length + 1] + b[:, 2] * past[:, :length]


class _AllPole(torch.autograd.Function):
    """y[n] = x[n] - a[0] y[n - 1] - a[1] y[n - 2]: x (B, T), a (B, 2).

    The gradient g of x is the same filter over the reversed gradient of y. That of a[k] is -Σ g[n] y[n - 1 - k], so no
    pass of its own is needed where x has a gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor) -> Tensor:
        y = torch.empty_like(x)
        share(len(x), partial(_run, x.numpy(), a.numpy(), y.numpy()))
        ctx.save_for_backward(y, a)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        y, a = ctx.saved_tensors
        g = torch.empty_like(y)
        share(len(y), partial(_run, grad.numpy()[:, ::-1], a.numpy(), g.numpy()[:, ::-1]))
        by_a = [-torch.linalg.vecdot(g[:, k:], y[:, : y.shape[-1] - k]) for k in (1, 2)]
        return g, torch.stack(by_a, dim=-1)


class _VaryingAllPole(torch.autograd.Function):
    """As `_AllPole`, with a (B, 2, T)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor) -> Tensor:
        y = torch.empty_like(x)
        share(len(x), partial(_run_varying, x.numpy(), a.numpy(), y.numpy()))
        ctx.save_for_backward(y, a)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        y, a = ctx.saved_tensors
        g, by_a = torch.empty_like(y), torch.zeros_like(a)
        share(len(y), partial(_run_varying_back, *(t.numpy() for t in (grad, a, y, g, by_a))))
        return g, by_a


# the newest y comes last in every sum: the next sample then waits for one product only


@njit(nogil=True, cache=True, fastmath={"contract"})
def _run(x, a, y, first, last):
    for row in range(first, last):
        a1, a2 = a[row, 0], a[row, 1]
        y1 = y2 = np.float32(0)
        for n in range(x.shape[1]):
            y0 = (x[row, n] - a2 * y2) - a1 * y1
            y[row, n] = y0
            y1, y2 = y0, y1


@njit(nogil=True, cache=True, fastmath={"contract"})
def _run_varying(x, a, y, first, last):
    for row in range(first, last):
        y1 = y2 = np.float32(0)
        for n in range(x.shape[1]):
            y0 = (x[row, n] - a[row, 1, n] * y2) - a[row, 0, n] * y1
            y[row, n] = y0
            y1, y2 = y0, y1


@njit(nogil=True, cache=True, fastmath={"contract"})
def _run_varying_back(grad, a, y, g, by_a, first, last):
    for row in range(first, last):
        g1 = g2 = a1 = a2 = before = np.float32(0)  # a1 of n + 1; a2 of n + 2, and of n + 1
        for n in range(y.shape[1] - 1, -1, -1):
            g0 = (grad[row, n] - a2 * g2) - a1 * g1
            g[row, n] = g0
            if n > 0:
                by_a[row, 0, n] = -g0 * y[row, n - 1]
            if n > 1:
                by_a[row, 1, n] = -g0 * y[row, n - 2]
            g1, g2 = g0, g1
            a1, a2, before = a[row, 0, n], before, a[row, 1, n]
