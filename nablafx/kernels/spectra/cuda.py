"""The spectral distance on CUDA, in Triton between cuFFT's transforms: see :mod:`nablafx.kernels.spectra.reference`.

Two passes over the bins: one reads both spectra and leaves sums, the other reads them again and leaves the gradient
in place of the prediction's. In between nothing is read back from the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from nablafx import processes
from nablafx.kernels.spectra import reference

FLOOR = tl.constexpr(reference.FLOOR)
BLOCK = 1024  # bins of a program


def measure(
    prediction: Tensor,
    target: Tensor,
    windows: Sequence[Tensor],
    fft_sizes: Sequence[int],
    hop_sizes: Sequence[int],
    with_gradient: bool,
    joined: bool = False,
) -> tuple[Tensor, Tensor]:
    weight, rows = (processes.count() if joined else 1) / len(windows), []
    gradient = prediction.new_zeros(prediction.shape if with_gradient else 0)
    for window, fft_size, hop in zip(windows, fft_sizes, hop_sizes, strict=True):
        both = torch.stack([prediction, target]).flatten(0, 1)
        spectra = torch.stft(both, fft_size, hop, len(window), window, return_complex=True)
        told, wanted = torch.view_as_real(spectra.mT.contiguous()).unflatten(0, (2, -1))
        count = told.numel() // 2
        grid = (-(-count // BLOCK),)
        sums = told.new_empty(grid[0], 3, dtype=torch.float64)
        with torch.cuda.device_of(told):
            compare[grid](told, wanted, sums, count, BLOCK=BLOCK)
            total = F.pad(sums.sum(0), (0, 1), value=count)
            rows.append(processes.summed(total) if joined else total)
            if with_gradient:
                off, energy, _, bins = rows[-1]
                scales = torch.stack([torch.where(off > 0, 1 / (off * energy).sqrt(), 0), 1 / bins])
                differentiate[grid](told, wanted, scales.to(told.dtype), count, told.shape[2], BLOCK=BLOCK)
                gradient += _to_audio(torch.view_as_complex(told), window, fft_size, hop, prediction.shape[1])
    return torch.stack(rows), gradient * weight


def _to_audio(bins: Tensor, window: Tensor, fft_size: int, hop: int, length: int) -> Tensor:
    """The adjoint of the short-time transform: bins (R, frames, N / 2 + 1), those within halved -> (R, T)."""
    before = (fft_size - len(window)) // 2
    window = F.pad(window, (before, fft_size - len(window) - before))
    frames = torch.fft.irfft(bins, fft_size, norm="forward") * window
    samples = (frames.shape[1] - 1) * hop + fft_size
    added = F.fold(frames.mT, (1, samples), (1, fft_size), stride=(1, hop))[:, 0, 0]
    half = fft_size // 2
    audio = F.pad(added[:, half : half + length], (0, max(length - samples + half, 0)))
    left, right = added[:, :half].flip(1), added[:, half + length :].flip(1)
    audio[:, 1 : half + 1] += left
    stop = length - 1
    audio[:, stop - right.shape[1] : stop] += right
    return audio


@triton.jit(do_not_specialize=["count"])
def compare(told, wanted, sums, count, BLOCK: tl.constexpr):
    """Sums of a block: squares of differences of magnitudes, the target's powers, differences of logarithms."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    power, other = _power(told, at, inside), _power(wanted, at, inside)
    off = tl.sqrt(power) - tl.sqrt(other)
    ratio = tl.abs(tl.log(power / other)) * 0.5
    sums += tl.program_id(0) * 3
    tl.store(sums, tl.sum(tl.where(inside, off * off, 0.0).to(tl.float64)))
    tl.store(sums + 1, tl.sum(tl.where(inside, other, 0.0).to(tl.float64)))
    tl.store(sums + 2, tl.sum(tl.where(inside, ratio, 0.0).to(tl.float64)))


@triton.jit(do_not_specialize=["count", "bins"])
def differentiate(told, wanted, scales, count, bins, BLOCK: tl.constexpr):
    """Make the prediction's bins the gradient of the distance by them, halved except for the first and the last."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    re, im = tl.load(told + 2 * at, inside, other=0.0), tl.load(told + 2 * at + 1, inside, other=0.0)
    heard = re * re + im * im >= FLOOR
    power = tl.maximum(re * re + im * im, FLOOR, propagate_nan=tl.PropagateNan.ALL)
    size = tl.sqrt(power)
    off = size - tl.sqrt(_power(wanted, at, inside))
    sign = tl.where(off > 0, 1.0, tl.where(off < 0, -1.0, 0.0))
    slope = tl.load(scales) * off / size + tl.load(scales + 1) * sign / power
    bin = at % bins
    slope *= tl.where((bin == 0) | (bin == bins - 1), 1.0, 0.5)
    slope = tl.where(heard, slope, 0.0)
    tl.store(told + 2 * at, slope * re, inside)
    tl.store(told + 2 * at + 1, slope * im, inside)


@triton.jit
def _power(spectrum, at, inside):
    re, im = tl.load(spectrum + 2 * at, inside, other=0.0), tl.load(spectrum + 2 * at + 1, inside, other=0.0)
    return tl.maximum(re * re + im * im, FLOOR, propagate_nan=tl.PropagateNan.ALL)
