"""The least that a training step must move through memory, in bytes.

Counted are features as they pass between the parts of a net, once for each part that must read or write them even if
everything within it stays in registers, and what lies within a part is computed again in the backward pass:

    convolution block   forward x in, h out; backward x and grad h in, grad z out; grad z and grad h in, grad x out
                        where features steer themselves (TFiLM), z must also be written and read before h can be
    state-space block   forward h in, u out, u and h in, h' out; backward u and grad h' in, grad u out; grad u, h and
                        grad h' in, grad h out
    LSTM                h and c out, and in again twice
    stage of a chain    forward x in, y out; backward x and grad y in, grad x out
    spectra of the loss those of prediction and target and the gradient out and in, at every resolution

Weights, states and control-rate signals are small beside them. A recurrent net is bound by the wait of a sample for the
last one rather than by this.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from nablafx.conditioning.tfilm import BlockModulation
from nablafx.effects import LSTM, Effect, GrayBox
from nablafx.effects.gcn import GCNBlock
from nablafx.effects.s4 import S4Block
from nablafx.effects.stack import ConvBlock, StackedEffect
from nablafx.training.losses import MultiResolutionSTFT

_FLOAT, _COMPLEX = 4, 8


def bytes_moved(effect: Effect, loss: MultiResolutionSTFT, batch: int, samples: int, piece: int | None) -> int:
    """Of a step over a batch; piece: samples that the loss hears at once, None: all."""
    features = _FLOAT * batch * samples * _channels(effect)
    piece = piece or samples
    sizes = zip(loss.fft_sizes, loss.hop_sizes, strict=True)
    bins = sum((fft // 2 + 1) * (piece // hop + 1) for fft, hop in sizes)
    spectra = 6 * _COMPLEX * batch * (samples // piece) * bins
    return features + spectra


def bandwidth(device: str, size: int = 2**28) -> float:
    """Bytes a second that a copy within the device's memory moves, read and written: the best of ten."""
    source, target = (torch.ones(size // _FLOAT, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = _now(device)
        target.copy_(source)
        best = min(best, _now(device) - started)
    return 2 * size / best


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _channels(effect: Effect) -> int:
    """Features that are read or written, by channel."""
    if isinstance(effect, StackedEffect):
        return sum(_block(block) for block in effect.stack)
    if isinstance(effect, LSTM):
        return 6 * effect.lstm.hidden_size * effect.lstm.num_layers
    assert isinstance(effect, GrayBox)
    return 5 * len(effect.stages)


def _block(block: Any) -> int:
    if isinstance(block, ConvBlock):
        conv = block.conv
        width = block.mix.out_channels if isinstance(block, GCNBlock) else conv.out_channels
        within = 4 if isinstance(block.modulation, BlockModulation) else 2
        return 3 * conv.in_channels + 3 * width + within * conv.out_channels
    assert isinstance(block, S4Block)
    return 12 * block.linear.out_channels
